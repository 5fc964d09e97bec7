#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "mpc/program_line.h"
#include "net/wire.h"

namespace secfwt {
namespace {

// Exact names from the subject alternative name only.
constexpr unsigned kExact = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS;

// AES-GCM keys are good for 2^24.5 full records (RFC 8446, 5.5), 388 GB; they are replaced long before.
constexpr u64 kRekeyBytes = u64{1} << 36;

using How = ConnectionLost::How;

std::string last_error() {
  const auto code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code ? ERR_reason_error_string(code) : nullptr;
  return reason ? reason : "unknown error";
}

bool is_for(X509* certificate, const std::string& name) {
  return certificate && X509_check_host(certificate, name.data(), name.size(), kExact, nullptr) == 1;
}

void check_key_mode(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) throw SetupError("cannot read key " + path + ": " + std::strerror(errno));
  // As PostgreSQL has it: where the file is root's, this process's group may read. So Kubernetes mounts secrets.
  const mode_t open_to_others = info.st_uid == 0 && geteuid() != 0 ? 0137 : 0177;
  if (info.st_mode & open_to_others) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(info.st_mode & 07777));
    throw SetupError("key " + path + " has mode " + mode + ": others may read it; run chmod 0600 " + path);
  }
}

}  // namespace

TlsStream::TlsStream(SSL_CTX* context, Fd socket, bool server)
    : socket_(std::move(socket)), ssl_(SSL_new(context), SSL_free) {
  if (!ssl_ || SSL_set_fd(ssl_.get(), socket_.get()) != 1) throw std::runtime_error("OpenSSL: " + last_error());
  if (server)
    SSL_set_accept_state(ssl_.get());
  else
    SSL_set_connect_state(ssl_.get());
}

void TlsStream::expect(const std::string& name) {
  SSL_set_hostflags(ssl_.get(), kExact);
  if (SSL_set1_host(ssl_.get(), name.c_str()) != 1) throw std::runtime_error("OpenSSL: " + last_error());
}

TlsStream::Wait TlsStream::waiting_for(int result, const char* what) {
  const int saved = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return wait_ = Wait::readable;
    case SSL_ERROR_WANT_WRITE:
      return wait_ = Wait::writable;
    case SSL_ERROR_ZERO_RETURN:
      throw ConnectionLost("it closed the connection", How::goodbye);
    case SSL_ERROR_SYSCALL:
      dead_ = true;
      if (saved == ETIMEDOUT) throw ConnectionLost("no sign of life: it is stopped, or its host hangs", How::broken);
      throw ConnectionLost(saved ? std::strerror(saved) : "connection closed without a goodbye", How::broken);
    default:
      break;
  }
  dead_ = true;
  const long verdict = SSL_get_verify_result(ssl_.get());
  std::string text = last_error();
  if (text == "unexpected eof while reading") throw ConnectionLost("connection closed without a goodbye", How::broken);
  if (verdict != X509_V_OK) text = X509_verify_cert_error_string(verdict);
  throw ConnectionLost(std::string(what) + ": " + text, How::refused);
}

TlsStream::Wait TlsStream::handshake() {
  ERR_clear_error();
  errno = 0;
  const int result = SSL_do_handshake(ssl_.get());
  return result == 1 ? Wait::nothing : waiting_for(result, "TLS handshake failed");
}

std::string TlsStream::peer_name(const std::vector<std::string>& names) const {
  X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  std::string found;
  for (const auto& name : names) {
    if (!is_for(certificate, name)) continue;
    if (!found.empty()) return {};
    found = name;
  }
  return found;
}

std::string TlsStream::peer_key() const {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(SSL_get0_peer_certificate(ssl_.get())), &der);
  if (size <= 0) throw std::runtime_error("OpenSSL: " + last_error());
  std::string bytes(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return hex(hash_of(bytes));
}

std::size_t TlsStream::read(void* out, std::size_t n) {
  ERR_clear_error();
  errno = 0;
  std::size_t got = 0;
  const int result = SSL_read_ex(ssl_.get(), out, n, &got);
  if (result == 1) return got;
  waiting_for(result, "TLS");
  return 0;
}

std::size_t TlsStream::write(const void* data, std::size_t n) {
  ERR_clear_error();
  errno = 0;
  std::size_t put = 0;
  const int result = SSL_write_ex(ssl_.get(), data, n, &put);
  if (result != 1) {
    waiting_for(result, "TLS");
    return 0;
  }
  written_ += put;
  if (written_ >= kRekeyBytes && SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1) written_ = 0;
  return put;
}

void TlsStream::write_all(const void* data, std::size_t n, std::chrono::seconds patience) {
  auto* from = static_cast<const u8*>(data);
  while (n > 0) {
    const std::size_t put = write(from, n);
    from += put, n -= put;
    pollfd socket{fd(), poll_events(), 0};
    if (put == 0 && !poll_until(&socket, 1, Clock::now() + patience))
      throw ConnectionLost("it takes no data", How::broken);
  }
}

void TlsStream::finish() {
  ERR_clear_error();
  if (!dead_ && SSL_is_init_finished(ssl_.get())) SSL_shutdown(ssl_.get());
}

Pins parse_pins(const std::string& text) {
  Pins pins;
  for (const std::string& pin : split(text, ',')) {
    const auto at = pin.find('=');
    const std::string digits = at == std::string::npos ? "" : pin.substr(at + 1);
    if (digits.size() != 2 * sizeof(Hash) || digits.find_first_not_of("0123456789abcdef") != std::string::npos)
      throw SetupError("--pins " + pin + ": expected NAME=SHA256, 64 lower-case hexadecimal digits");
    pins[pin.substr(0, at)] = digits;
  }
  return pins;
}

TlsContext::TlsContext(const std::string& ca, const std::string& certificate, const std::string& key,
                       const std::string& own_name, Pins pins)
    : context_(SSL_CTX_new(TLS_method()), SSL_CTX_free), pins_(std::move(pins)) {
  SSL_CTX* context = context_.get();
  if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") != 1)
    throw std::runtime_error("OpenSSL: " + last_error());
  SSL_CTX_set_security_level(context, 2);  // at least 112 bits: RSA 2048, EC 224
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(context, 0);  // every connection proves its identity anew
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, 34000);  // two records: OpenSSL moves what is left after every record
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);

  if (SSL_CTX_load_verify_file(context, ca.c_str()) != 1)
    throw SetupError("cannot read authority " + ca + ": " + last_error());
  if (SSL_CTX_use_certificate_file(context, certificate.c_str(), SSL_FILETYPE_PEM) != 1)
    throw SetupError("cannot read certificate " + certificate + ": " + last_error());
  check_key_mode(key);
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1)
    throw SetupError("key " + key + " does not fit certificate " + certificate + ": " + last_error());
  if (!is_for(SSL_CTX_get0_certificate(context), own_name))
    throw SetupError("certificate " + certificate + " is not for " + own_name);
}

void TlsContext::check_pin(const TlsStream& stream, const std::string& name) const {
  const auto pin = pins_.find(name);
  if (pin != pins_.end() && stream.peer_key() != pin->second)
    throw ConnectionLost(name + " has another key than the deployment pins: sha256 " + stream.peer_key(), How::refused);
}

TlsStream TlsContext::connect(Fd socket, const std::string& name) const {
  TlsStream stream(context_.get(), std::move(socket), false);
  stream.expect(name);
  return stream;
}

}  // namespace secfwt
