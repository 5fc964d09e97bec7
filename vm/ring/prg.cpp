#include "ring/prg.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "ring/parallel.h"

namespace secfwt {
namespace {

[[noreturn]] void fail(const char* what) { throw std::runtime_error(std::string("OpenSSL: ") + what + " failed"); }

// A cipher context that remembers its key schedule: seeking to a position then costs an initial counter only.
class Cipher {
 public:
  Cipher() : context_(EVP_CIPHER_CTX_new()) {
    if (!context_) fail("EVP_CIPHER_CTX_new");
  }
  ~Cipher() {
    EVP_CIPHER_CTX_free(context_);
    OPENSSL_cleanse(key_.data(), key_.size());
  }
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;

  bool holds(const Key& key) const { return keyed_ && key_ == key; }

  void set_key(const Key& key) {
    keyed_ = false;
    if (EVP_EncryptInit_ex(context_, EVP_aes_128_ctr(), nullptr, key.data(), nullptr) != 1)
      fail("AES-128-CTR key setup");
    key_ = key;
    keyed_ = true;
  }

  void generate(u64 number, u64 first_block, u8* out, std::size_t bytes) {
    u8 counter[16];
    for (int i = 0; i < 8; ++i) {
      counter[7 - i] = static_cast<u8>(number >> (8 * i));
      counter[15 - i] = static_cast<u8>(first_block >> (8 * i));
    }
    if (EVP_EncryptInit_ex(context_, nullptr, nullptr, nullptr, counter) != 1) fail("AES-128-CTR counter setup");
    static const u8 zeros[16384] = {};  // stays in the first-level cache
    while (bytes > 0) {
      int length = static_cast<int>(std::min(bytes, sizeof zeros)), written = 0;
      if (EVP_EncryptUpdate(context_, out, &written, zeros, length) != 1 || written != length) fail("AES-128-CTR");
      out += length;
      bytes -= static_cast<std::size_t>(length);
    }
  }

 private:
  EVP_CIPHER_CTX* context_;
  Key key_{};
  bool keyed_ = false;
};

// A party draws from a handful of streams in turn; each thread keeps as many contexts.
Cipher& cipher_for(const Key& key) {
  constexpr std::size_t slots = 4;
  thread_local Cipher ciphers[slots];
  thread_local std::size_t oldest = 0;
  for (Cipher& cipher : ciphers)
    if (cipher.holds(key)) return cipher;
  Cipher& cipher = ciphers[oldest++ % slots];
  cipher.set_key(key);
  return cipher;
}

}  // namespace

Key random_key() {
  Key key;
  if (RAND_priv_bytes(key.data(), static_cast<int>(key.size())) != 1)
    throw std::runtime_error("no random key: the operating system's generator is not available");
  return key;
}

void expand(const Key& key, u64 first_block, void* out, std::size_t bytes, u64 number) {
  constexpr std::size_t piece = 256 * 1024, blocks = piece / 16;
  u8* bytes_out = static_cast<u8*>(out);
  if (bytes <= 2 * piece) {
    cipher_for(key).generate(number, first_block, bytes_out, bytes);
    return;
  }
  parallel_for((bytes + piece - 1) / piece, 1, [&](std::size_t lo, std::size_t hi) {
    cipher_for(key).generate(number, first_block + lo * blocks, bytes_out + lo * piece,
                             std::min(hi * piece, bytes) - lo * piece);
  });
}

void expand_words(const Key& key, u64 first, std::size_t n, u64* out) {
  if (n > 0 && first % 2 == 1) {  // from the middle of a block
    u64 block[2];
    expand(key, first / 2, block, sizeof block);
    *out++ = block[1];
    ++first, --n;
  }
  expand(key, first / 2, out, n * sizeof(u64));
}

u64 Stream::reserve(std::size_t bytes) {
  u64 block = next_;
  next_ += (static_cast<u64>(bytes) + 15) / 16;
  return block;
}

}  // namespace secfwt
