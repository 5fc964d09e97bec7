// Frames between clients and a party (docs/wire.md).
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ring/hash.h"
#include "ring/named.h"
#include "ring/ring.h"

namespace secfwt {

enum class Frame : u32 { hello = 1, weights, examples, step, stop, error, progress, done, result, join, notice, tell };

inline constexpr std::array<Named<Frame>, 12> kFrames{{
    {Frame::hello, "HELLO"},
    {Frame::weights, "WEIGHTS"},
    {Frame::examples, "EXAMPLES"},
    {Frame::step, "STEP"},
    {Frame::stop, "STOP"},
    {Frame::error, "ERROR"},
    {Frame::progress, "PROGRESS"},
    {Frame::done, "DONE"},
    {Frame::result, "RESULT"},
    {Frame::join, "JOIN"},
    {Frame::notice, "NOTICE"},
    {Frame::tell, "TELL"},
}};
constexpr const char* name(Frame kind) { return row_of(kFrames, kind).name; }

// 64-bit words of what a party answers: party's flags and session's number; parts in all; time, bytes, rounds, memory.
constexpr std::size_t kHelloWords = 2, kProgressWords = 1, kCostWords = 4;
// Of what it tells data owners of a step, and the coordinator, at HELLO, of every owner.
constexpr std::size_t kNoticeWords = 5, kOwnerWords = 2;

// A kind of frame as parties tell each other of it.
inline u64 word(Frame kind) { return static_cast<u64>(kind); }

// The argument of an ERROR: what the client can do about it.
enum class Complaint : u64 {
  refused = 0,      // this client asked for something wrong, or the party failed
  consequence = 1,  // another party ended the session: its message says why
  busy = 2,         // another session is active: try again later
};
inline constexpr std::array<Named<Complaint>, 3> kComplaints{{
    {Complaint::refused, "refused"},
    {Complaint::consequence, "consequence"},
    {Complaint::busy, "busy"},
}};

// The 24 bytes before every payload.
struct FrameHeader {
  static constexpr u32 kMagic = 0x33544653;  // "SFT3"
  static constexpr std::size_t kBytes = 24;

  u32 magic = kMagic;
  Frame kind = Frame::hello;
  u64 argument = 0;
  u64 length = 0;
};
static_assert(sizeof(FrameHeader) == FrameHeader::kBytes && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

// SHA-256 of what is added, part by part.
class Hashing {
 public:
  Hashing();
  void add(const void* data, std::size_t bytes);
  Hash result();

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> state_;
};
Hash hash_of(const void* data, std::size_t bytes);
inline Hash hash_of(const std::string& text) { return hash_of(text.data(), text.size()); }
std::string hex(const Hash& hash);

// Names in the certificates.
std::string party_name(int id);
constexpr const char* kModelOwner = "model-owner.secfwt";
constexpr const char* kDataOwner = "data-owner.secfwt";

// One frame: header and a payload of 64-bit words.
std::vector<u8> frame(Frame kind, u64 argument, const std::vector<u64>& words = {});
std::vector<u8> error_frame(Complaint complaint, const std::string& text);

}  // namespace secfwt
