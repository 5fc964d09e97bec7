#include "mpc/transcript.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "ring/parallel.h"

namespace secfwt {
namespace {

constexpr u64 kNumber = ~u64{0};  // of the stream that its key comes from; tuples take the low numbers
constexpr std::size_t kPiece = std::size_t{1} << 20;  // bytes under one tag

}  // namespace

Transcript::Transcript(const Stream& shared) { shared.numbered(kNumber).fill(0, 0, key_.data(), key_.size()); }

void Transcript::add(const void* data, std::size_t bytes) {
  const u8* const from = static_cast<const u8*>(data);
  const std::size_t first = tags_.size();
  tags_.resize(first + (bytes + kPiece - 1) / kPiece);
  parallel_for(tags_.size() - first, 1, [&](std::size_t lo, std::size_t hi) {
    for (; lo < hi; ++lo) tags_[first + lo] = tag(from + lo * kPiece, std::min(kPiece, bytes - lo * kPiece));
  });
}

Transcript::Digest Transcript::digest() {
  const Digest all = tag(reinterpret_cast<const u8*>(tags_.data()), tags_.size() * sizeof(Digest));
  tags_.clear();
  return all;
}

// The tag of AES-128-GCM for data that are authenticated and not encrypted. It stays with the two holders of the key,
// so that no nonce is needed.
Transcript::Digest Transcript::tag(const u8* data, std::size_t bytes) const {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                                &EVP_CIPHER_CTX_free);
  const u8 nonce[12] = {};
  Digest out;
  int written = 0;
  u8 none[1];
  if (!context || EVP_EncryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, key_.data(), nonce) != 1 ||
      (bytes > 0 && EVP_EncryptUpdate(context.get(), nullptr, &written, data, static_cast<int>(bytes)) != 1) ||
      EVP_EncryptFinal_ex(context.get(), none, &written) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, static_cast<int>(out.size()), out.data()) != 1)
    throw std::runtime_error("OpenSSL: GMAC failed");
  return out;
}

}  // namespace secfwt
