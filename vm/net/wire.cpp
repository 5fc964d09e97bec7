#include "net/wire.h"

#include <new>
#include <stdexcept>

namespace secfwt {
namespace {

std::vector<u8> join(const FrameHeader& header, const void* payload) {
  std::vector<u8> bytes(FrameHeader::kBytes + header.length);
  std::memcpy(bytes.data(), &header, FrameHeader::kBytes);
  if (header.length) std::memcpy(bytes.data() + FrameHeader::kBytes, payload, header.length);
  return bytes;
}

}  // namespace

Hashing::Hashing() : state_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  if (!state_ || !EVP_DigestInit_ex(state_.get(), EVP_sha256(), nullptr)) throw std::bad_alloc();
}

void Hashing::add(const void* data, std::size_t bytes) {
  if (!EVP_DigestUpdate(state_.get(), data, bytes)) throw std::runtime_error("SHA-256 failed");
}

Hash Hashing::result() {
  Hash hash;
  if (!EVP_DigestFinal_ex(state_.get(), hash.data(), nullptr)) throw std::runtime_error("SHA-256 failed");
  return hash;
}

Hash hash_of(const void* data, std::size_t bytes) {
  Hashing hashing;
  hashing.add(data, bytes);
  return hashing.result();
}

std::string hex(const Hash& hash) {
  std::string text;
  for (u8 byte : hash)
    for (int digit : {byte >> 4, byte & 15}) text += "0123456789abcdef"[digit];
  return text;
}

std::string party_name(int id) { return "party" + std::to_string(id) + ".secfwt"; }

std::vector<u8> frame(Frame kind, u64 argument, const std::vector<u64>& words) {
  return join({FrameHeader::kMagic, kind, argument, words.size() * sizeof(u64)}, words.data());
}

std::vector<u8> error_frame(Complaint complaint, const std::string& text) {
  return join({FrameHeader::kMagic, Frame::error, static_cast<u64>(complaint), text.size()}, text.data());
}

}  // namespace secfwt
