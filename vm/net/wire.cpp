#include "net/wire.h"

#include <openssl/sha.h>

namespace secfwt {
namespace {

std::vector<u8> join(const FrameHeader& header, const void* payload) {
  std::vector<u8> bytes(FrameHeader::kBytes + header.length);
  std::memcpy(bytes.data(), &header, FrameHeader::kBytes);
  if (header.length) std::memcpy(bytes.data() + FrameHeader::kBytes, payload, header.length);
  return bytes;
}

}  // namespace

Hash hash_of(const void* data, std::size_t bytes) {
  Hash hash;
  SHA256(static_cast<const u8*>(data), bytes, hash.data());
  return hash;
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
