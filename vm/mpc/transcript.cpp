#include "mpc/transcript.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "ring/parallel.h"

namespace secfwt {
namespace {

constexpr u64 kNumber = ~u64{0};  // of the stream that the keys come from; tuples take low numbers
constexpr std::size_t kPending = std::size_t{1} << 16;  // hashes of blocks that wait for GMAC
constexpr std::size_t kGrain = 256;                     // blocks for a thread at a time

// Σ (m_2i + k_2i)(m_2i+1 + k_2i+1) over the words of a block.
void nh(const u8* block, const u64* key, std::size_t words, u8* out) {
  unsigned __int128 sum = 0;
  for (std::size_t i = 0; i < words; i += 2) {
    u64 pair[2];
    std::memcpy(pair, block + i * sizeof(u64), sizeof pair);
    sum += static_cast<unsigned __int128>(pair[0] + key[i]) * (pair[1] + key[i + 1]);
  }
  std::memcpy(out, &sum, sizeof sum);
}

}  // namespace

Transcript::Transcript(const Stream& shared) {
  const Stream stream = shared.numbered(kNumber);
  stream.fill(0, 0, key_.data(), sizeof key_);
  stream.fill(1, 0, nh_key_.data(), sizeof nh_key_);
}

void Transcript::add(const void* data, std::size_t bytes) {
  const u8* const from = static_cast<const u8*>(data);
  const std::size_t first = hashes_.size(), whole = bytes / kBlock, rest = bytes % kBlock;
  hashes_.resize(first + whole + (rest > 0));
  parallel_for(whole, kGrain, [&](std::size_t lo, std::size_t hi) {
    for (; lo < hi; ++lo) nh(from + lo * kBlock, nh_key_.data(), nh_key_.size(), hashes_[first + lo].data());
  });
  if (rest > 0) {
    u8 last[kBlock] = {};
    std::memcpy(last, from + whole * kBlock, rest);
    nh(last, nh_key_.data(), nh_key_.size(), hashes_.back().data());
  }
  if (hashes_.size() > kPending) hashes_ = {digest()};
}

// The tag of AES-128-GCM for data that are authenticated and not encrypted. Only holders of the key ever see it, so
// that no nonce is needed.
Transcript::Digest Transcript::digest() {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                                &EVP_CIPHER_CTX_free);
  const u8 nonce[12] = {};
  const auto* const data = reinterpret_cast<const u8*>(hashes_.data());
  const int bytes = static_cast<int>(hashes_.size() * sizeof(Digest));
  Digest out;
  int written = 0;
  u8 none[1];
  if (!context || EVP_EncryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, key_.data(), nonce) != 1 ||
      (bytes > 0 && EVP_EncryptUpdate(context.get(), nullptr, &written, data, bytes) != 1) ||
      EVP_EncryptFinal_ex(context.get(), none, &written) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, static_cast<int>(out.size()), out.data()) != 1)
    throw std::runtime_error("OpenSSL: GMAC failed");
  hashes_.clear();
  return out;
}

}  // namespace secfwt
