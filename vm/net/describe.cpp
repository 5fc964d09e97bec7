#include "net/describe.h"

#include "mpc/program.h"
#include "mpc/program_limits.h"
#include "net/options.h"
#include "net/service.h"
#include "net/wire.h"

namespace secfwt {
namespace {

std::string json(const char* text) { return std::string("\"").append(text).append("\""); }
std::string json(const std::string& text) { return json(text.c_str()); }
std::string json(bool flag) { return flag ? "true" : "false"; }
std::string json(Range range) { return "[" + std::to_string(range.least) + ", " + std::to_string(range.most) + "]"; }
template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number> || std::is_enum_v<Number>>>
std::string json(Number number) {
  if constexpr (std::is_enum_v<Number>)
    return std::to_string(static_cast<u64>(number));
  else
    return std::to_string(number);
}

// An object, member by member; one inside another is indented by its own writer.
class Object {
 public:
  template <class T>
  Object& add(const char* key, const T& value) {
    return add_text(key, json(value));
  }
  Object& add(const char* key, const Object& object) { return add_text(key, object.text()); }
  std::string text() const { return "{" + members_ + "}"; }

 private:
  Object& add_text(const char* key, const std::string& value) {
    if (!members_.empty()) members_ += ", ";
    members_ += json(key) + ": " + value;
    return *this;
  }
  std::string members_;
};

Object wire() {
  Object frames, complaints, names;
  for (const auto& frame : kFrames) frames.add(frame.name, frame.value);
  for (const auto& complaint : kComplaints) complaints.add(complaint.name, complaint.value);
  for (int party = 0; party < 3; ++party) names.add(("party" + std::to_string(party)).c_str(), party_name(party));
  names.add("model-owner", kModelOwner).add("data-owner", kDataOwner);
  return Object()
      .add("magic", FrameHeader::kMagic)
      .add("header_bytes", FrameHeader::kBytes)
      .add("hash_bytes", sizeof(Hash))
      .add("seed_bytes", sizeof(Key))
      .add("hello_bytes", kHelloWords * sizeof(u64))
      .add("progress_bytes", kProgressWords * sizeof(u64))
      .add("cost_bytes", kCostWords * sizeof(u64))
      .add("owner_bytes", kOwnerWords * sizeof(u64))
      .add("notice_bytes", kNoticeWords * sizeof(u64))
      .add("heartbeat_seconds", kHeartbeat.count())
      .add("frames", frames)
      .add("complaints", complaints)
      .add("names", names);
}

Object program() {
  Object stages, sharings, operations;
  for (const auto& stage : kStages) stages.add(stage.name, stage.value);
  for (const auto& sharing : kSharings) sharings.add(sharing.name, sharing.value);
  for (const Operation& row : kOperations) {
    Object operation;
    operation.add("least_inputs", row.least_inputs);
    if (row.most_inputs != kAnyNumber) operation.add("most_inputs", row.most_inputs);
    operations.add(row.name, operation.add("communicates", row.communicates));
  }
  return Object()
      .add("first_line", kFirstLine)
      .add("stages", stages)
      .add("sharings", sharings)
      .add("operations", operations)
      .add("phase_scale", kPhaseScale)
      .add("most_fit_scale", kMostFitScale)
      .add("ranges", Object()
                         .add("scale", kScale)
                         .add("bits", kPublicBits)
                         .add("bytes", kNumberBytes)
                         .add("shift", kShift)
                         .add("k", kPhaseBits)
                         .add("fc", kAmplitudeBits)
                         .add("fa", kPhasorBits)
                         .add("ring", kRingBits)
                         .add("input_ring", kInputRingBits)
                         .add("min_owners", kOwners)
                         .add("m", kHarmonic)
                         .add("noise", kNoise))
      .add("noise_reach", kNoiseReach);
}

Object options() {
  Object out;
  for (const NumberOption& option : kNumberOptions)
    out.add(option.name, Range{static_cast<i64>(option.least), static_cast<i64>(option.most)});
  return out;
}

}  // namespace

std::string describe() {
  return Object().add("wire", wire()).add("program", program()).add("options", options()).text();
}

}  // namespace secfwt
