// Mutual TLS 1.3 among the holders of a deployment's certificates (OpenSSL 3).
#pragma once

#include <openssl/ssl.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/socket.h"
#include "ring/ring.h"

namespace secfwt {

// A connection that is of no more use; the text says why.
struct ConnectionLost : std::runtime_error {
  enum class How {
    goodbye,  // the other end closed it in an orderly way (close_notify)
    broken,   // the other end crashed, was killed or cannot be reached
    refused,  // one end does not accept the other's certificate, or what came is not TLS 1.3
  };
  ConnectionLost(const std::string& text, How how) : std::runtime_error(text), how(how) {}
  How how;
};

// One TLS connection over a non-blocking socket. One thread at a time.
class TlsStream {
 public:
  enum class Wait { nothing, readable, writable };

  TlsStream(SSL_CTX* context, Fd socket, bool server);

  // Requires that the other end's certificate is for exactly this name; before the handshake.
  void expect(const std::string& name);
  // One step of the handshake: `nothing` when it is complete. Throws ConnectionLost.
  Wait handshake();
  // Which one of the names the verified certificate of the other end is for; empty if none or several.
  std::string peer_name(const std::vector<std::string>& names) const;
  // SHA-256 of the other end's public key (SubjectPublicKeyInfo, DER) in lower-case hexadecimal digits.
  std::string peer_key() const;

  // Reads up to n bytes; returns how many (0: would block, see wait()). Throws ConnectionLost.
  std::size_t read(void* out, std::size_t n);
  // Writes up to n bytes, one TLS record at most; returns how many (0: would block). Throws ConnectionLost.
  std::size_t write(const void* data, std::size_t n);
  // What the last operation that returned 0 waits for.
  Wait wait() const { return wait_; }
  short poll_events() const { return wait_ == Wait::writable ? POLLOUT : POLLIN; }
  // Writes all; throws ConnectionLost as well when the other end takes nothing for `patience`.
  void write_all(const void* data, std::size_t n, std::chrono::seconds patience);
  // Says goodbye, as far as the socket takes it without waiting.
  void finish();
  int fd() const { return socket_.get(); }

 private:
  Wait waiting_for(int result, const char* what);

  Fd socket_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
  Wait wait_ = Wait::nothing;
  bool dead_ = false;
  u64 written_ = 0;
};

// By host name, the only key that is accepted (`TlsStream::peer_key`). A name without one may have any key that the
// authority vouches for.
using Pins = std::map<std::string, std::string>;

// "NAME=SHA256,NAME=SHA256". Throws SetupError.
Pins parse_pins(const std::string& text);

// A party's identity: its certificate and key, and the authority whose certificates it accepts.
class TlsContext {
 public:
  // PEM files. The key's file must be readable by its owner alone (mode 0600), the certificate must be for `own_name`.
  // Throws SetupError.
  TlsContext(const std::string& ca, const std::string& certificate, const std::string& key, const std::string& own_name,
             Pins pins);
  TlsStream accept(Fd socket) const { return TlsStream(context_.get(), std::move(socket), true); }
  TlsStream connect(Fd socket, const std::string& name) const;
  // After the handshake: throws ConnectionLost where the other end, which has this name, has another key than the name
  // is pinned to.
  void check_pin(const TlsStream& stream, const std::string& name) const;

 private:
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  Pins pins_;
};

}  // namespace secfwt
