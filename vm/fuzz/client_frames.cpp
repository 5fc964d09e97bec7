// Sessions with three parties that run in this process, over TLS: of one data owner, or of several and a coordinator.
// An input is a session: one byte for who it is and how it begins and ends, then frames, 40 bytes each, whose payloads
// are made as long as the frame says.
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "fuzz/target.h"
#include "net/meeting.h"
#include "net/service.h"
#include "tests/tls_pair.h"

namespace secfwt::fuzz {
namespace {

using test::identity;

constexpr auto kPatience = std::chrono::seconds(60);  // for an answer that must come; sanitizers are slow
constexpr u64 kMost = 1 << 12;                        // instances; beyond, so many that every party refuses them
// Bits of an input's first byte. Of several owners: who it is, if not the first, and whether it stays once it has
// joined.
constexpr u8 kModel = 1, kStranger = 2, kPolite = 4, kSecond = 8, kCoordinator = 16, kStays = 32;

struct Record {
  u8 parties = 7;  // bit i: to party i; bit 3 + i of a STEP: on the i-th owner's examples
  u8 cut = 0;      // bytes of the frame that are sent; 0: all
  u16 kind = 0;
  u32 magic = 0;  // what is wrong with it
  u64 argument = 0, longer = 0, count = 0, output = 0;
};
static_assert(sizeof(Record) == 40);

Frame kind_of(const Record& record) { return static_cast<Frame>(record.kind % 14); }

// Party `id` as secfwt-vm runs it.
struct Party {
  Party(const std::string& certificates, const std::string& text, const Roles& roles, int id)
      : id(id), text(text), roles(roles), tls(identity(certificates, "party" + std::to_string(id), party_name(id))) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
    place.port = std::to_string(ntohs(address.sin_port));
  }

  void serve(const std::array<Address, 3>& places) try {
    Program program = parse_program(text);
    const Hash hash = hash_of(text);
    Doorman doorman(tls, std::move(listener), id, hash, roles);
    const auto links = meet(id, places, tls, doorman, hash, group, {1, 8, u64{1} << 30}, Clock::now() + kPatience);
    PeerLink &prev = *links[(id + 2) % 3], &next = *links[(id + 1) % 3];
    Lanes lanes = connect_lanes(id, 1, program.fits, prev, next);
    Engine engine(std::move(program), lanes, 64, 0);
    Agreement agreement(id, prev.channel(0), next.channel(0), group);
    Service(engine, agreement, doorman, group, {std::chrono::seconds(60), std::chrono::seconds(30), u64{1} << 32},
            roles)
        .run();
  } catch (const std::exception& error) {
    if (over) return;
    std::fprintf(stderr, "secfwt-fuzz: party %d ended: %s\n", id, error.what());
    std::abort();
  }

  const int id;
  const std::string text;
  const Roles roles;
  const TlsContext tls;
  PeerGroup group;
  std::atomic<bool> over{false};
  Fd listener = listen_on({"127.0.0.1", "0"});
  Address place{"127.0.0.1", ""};
  std::thread thread;
};

class Parties {
 public:
  Parties(const std::string& certificates, const std::string& text, const Roles& roles)
      : program_(parse_program(text)), hash_(roles.known(hash_of(text))), roles_(roles) {
    for (const std::string& name : roles.clients())
      clients_.emplace(name, identity(certificates, name.substr(0, name.find('.')), name));
    std::array<Address, 3> places;
    for (int i = 0; i < 3; ++i) {
      parties_[i] = std::make_unique<Party>(certificates, text, roles, i);
      places[i] = parties_[i]->place;
    }
    for (auto& party : parties_) party->thread = std::thread([&party, places] { party->serve(places); });
  }

  // The kinds of party 0's answers, HELLO's first; it ends with the first ERROR.
  std::vector<Frame> session(const Input& input) {
    const u8 manner = input.empty() ? 0 : input[0];
    std::vector<Frame> answers;
    bool joined = false;
    while (true) {
      for (auto& [name, streams] : staying_) drain(streams);
      auto streams = hello(manner);
      answers = {hear(streams)};
      if (answers.back() == Frame::error && !(manner & kStranger)) continue;  // busy with the session before
      for (std::size_t at = 1; at + sizeof(Record) <= input.size() && answers.back() != Frame::error;
           at += sizeof(Record)) {
        Record record;
        std::memcpy(&record, input.data() + at, sizeof record);
        if (!send(streams, record, manner)) continue;
        answers.push_back(hear(streams));
        joined = kind_of(record) == Frame::join && answers.back() == Frame::done;
      }
      if (manner & kPolite)
        for (const auto& stream : streams) stream->finish();
      if (joined && manner & kStays) staying_[who(manner)] = std::move(streams);
      return answers;
    }
  }

  // Nobody may stop the parties of several owners.
  void stop() {
    if (roles_.several()) {
      for (auto& party : parties_) party->over = true;
      for (auto& party : parties_) party->group.end("the fuzzer has ended");
      for (auto& party : parties_) party->thread.join();
      return;
    }
    const auto streams = hello(0);
    if (hear(streams) == Frame::error) return stop();
    for (int i = 0; i < 3; ++i) write(*streams[i], frame(Frame::stop, 0));
    for (auto& party : parties_) party->thread.join();
  }

 private:
  using Streams = std::array<std::unique_ptr<TlsStream>, 3>;

  const std::string& who(u8 manner) const {
    static const std::string model_owner = kModelOwner;
    if (manner & kModel) return model_owner;
    if (roles_.several() && manner & kCoordinator) return roles_.coordinator;
    return roles_.owners[roles_.several() && manner & kSecond ? 1 : 0];
  }

  Streams hello(u8 manner) {
    Streams streams;
    Hash hash = hash_;
    if (manner & kStranger) hash[0] ^= 1;
    std::vector<u64> words(sizeof hash / sizeof(u64));
    std::memcpy(words.data(), hash.data(), sizeof hash);
    const auto bytes = frame(Frame::hello, ++sessions_, words);
    for (int i = 0; i < 3; ++i) {
      const TlsContext& self = clients_.at(who(manner));
      streams[i] = std::make_unique<TlsStream>(
          self.connect(connect_to(parties_[i]->place, Clock::now() + kPatience), party_name(i)));
      while (streams[i]->handshake() != TlsStream::Wait::nothing) wait(*streams[i]);
      write(*streams[i], bytes);
    }
    return streams;
  }

  // Whether all parties have a whole frame now, so that all must answer.
  bool send(const Streams& streams, const Record& record, u8 manner) {
    const Frame kind = kind_of(record);
    if (kind == Frame::stop && !(manner & kModel) && !record.longer) return false;  // that one would be obeyed
    const u64 count = record.count <= kMost ? record.count : record.count | u64{1} << 40;
    for (int i = 0; i < 3; ++i) {
      if (!(record.parties & 1 << i)) continue;
      std::vector<u64> prefix;
      u64 packed = 0;
      if (kind == Frame::weights) packed = program_.packed_bytes(Kind::weight, 1);
      if (kind == Frame::examples)
        prefix = {count}, packed = program_.packed_bytes(Kind::example, std::min(count, kMost));
      if (kind == Frame::step)
        prefix = {count, record.output, 0, u64{record.parties} >> 3},
        packed = program_.packed_bytes(Kind::candidate, std::min(count, kMost));
      if (kind == Frame::tell) packed = program_.packed_bytes(Kind::candidate, 1);
      const u64 shares = packed ? sizeof(Key) + (i == 0 ? sizeof(Key) : packed) : 0;
      FrameHeader header{FrameHeader::kMagic ^ record.magic, kind, record.argument,
                         prefix.size() * sizeof(u64) + shares + record.longer};
      std::vector<u8> bytes(sizeof header + prefix.size() * sizeof(u64) + shares);
      std::memcpy(bytes.data(), &header, sizeof header);
      if (!prefix.empty()) std::memcpy(bytes.data() + sizeof header, prefix.data(), prefix.size() * sizeof(u64));
      if (record.cut && record.cut < bytes.size()) bytes.resize(record.cut);
      write(*streams[i], bytes);
    }
    return (record.parties & 7) == 7 && !record.cut;
  }

  static void wait(const TlsStream& stream) {
    pollfd fd{stream.fd(), stream.poll_events(), 0};
    if (!poll_until(&fd, 1, Clock::now() + kPatience)) throw Failure("a party does not answer");
  }

  // A party may have closed: then what it said is read later.
  static void write(TlsStream& stream, const std::vector<u8>& bytes) {
    try {
      stream.write_all(bytes.data(), bytes.size(), kPatience);
    } catch (const ConnectionLost&) {
    }
  }

  // What an owner that stays has been told; it goes where the parties have let go of it.
  static void drain(const Streams& streams) {
    std::array<u8, 1 << 12> waste;
    for (const auto& stream : streams) try {
        while (stream->read(waste.data(), waste.size()) > 0) {
        }
      } catch (const ConnectionLost&) {
      }
  }

  static void read(TlsStream& stream, void* out, std::size_t n) {
    for (auto* to = static_cast<u8*>(out); n > 0;) {
      const std::size_t got = stream.read(to, n);
      to += got, n -= got;
      if (n > 0 && got == 0) wait(stream);
    }
  }

  // The answer of all three: ERROR where one says so.
  static Frame hear(const Streams& streams) {
    Frame answer = Frame::error;
    bool wrong = false;
    for (const auto& stream : streams) try {
        FrameHeader header;
        do {
          read(*stream, &header, sizeof header);
          if (header.magic != FrameHeader::kMagic || header.length > 1 << 20) throw Failure("an answer is no frame");
          std::vector<u8> payload(header.length);
          read(*stream, payload.data(), payload.size());
        } while (header.kind == Frame::progress);
        answer = header.kind;
        wrong |= answer == Frame::error;
      } catch (const ConnectionLost&) {
        wrong = true;
      }
    return wrong ? Frame::error : answer;
  }

  const Program program_;
  const Hash hash_;
  const Roles roles_;
  std::map<std::string, TlsContext> clients_;
  std::map<std::string, Streams> staying_;
  std::array<std::unique_ptr<Party>, 3> parties_;
  u64 sessions_ = 0;
};

Input script(u8 manner, const std::vector<Record>& records) {
  Input input{manner};
  for (const Record& record : records) {
    const Input bytes = bytes_of_number(record);
    input.insert(input.end(), bytes.begin(), bytes.end());
  }
  return input;
}

// Reads inputs as sessions, and now and then those that are `right`: whoever comes after them must find the parties as
// they should be. What these hear stands beside them.
Target sessions(const std::shared_ptr<Parties>& parties,
                const std::vector<std::pair<Input, std::vector<Frame>>>& right) {
  Target target;
  for (const auto& [input, answers] : right) target.seeds.push_back(input);
  for (u64 number : {u64{0}, u64{1}, u64{3}, u64{5}, kMost, u64{1} << 31, u64{1} << 32, u64{1} << 40, u64{1} << 60,
                     ~u64{0} / 8, ~u64{0} / 64 + 1, ~u64{0} >> 1, ~u64{0}})
    target.words.push_back(bytes_of_number(number));
  target.run = [=, turn = 0](const Input& input) mutable {
    const std::vector<Frame> answers = parties->session(input);
    const bool far = answers.size() > 1 && answers.back() != Frame::error;
    if (turn++ % 16) return far;
    for (const auto& [session, due] : right)
      if (parties->session(session) != due) throw Failure("a session that is right was not served");
    return far;
  };
  target.finish = [=] { parties->stop(); };
  return target;
}

}  // namespace

Target client_target(const std::string& certificates, const std::string& program) {
  const Input weights = script(kModel | kPolite, {Record{7, 0, 2, 0, 0, 0, 0, 0}});
  const Input steps =
      script(kPolite, {Record{7, 0, 3, 0, 5, 0, 3, 0}, Record{7, 0, 4, 0, 5, 0, 2, 0}, Record{7, 0, 4, 0, 5, 0, 1, 1}});
  Target target = sessions(
      std::make_shared<Parties>(certificates, program, Roles{}),
      {{weights, {Frame::hello, Frame::done}}, {steps, {Frame::hello, Frame::done, Frame::result, Frame::result}}});
  for (const Input& wrong : {script(0, {Record{7, 0, 3, 0, 5, 0, 3, 0}, Record{7, 30, 4, 0, 5, 0, 2, 0}}),
                             script(kStranger, {}), script(0, {Record{1, 0, 3, 0, 5, 0, 3, 0}})})
    target.seeds.push_back(wrong);
  return target;
}

Target owners_target(const std::string& certificates, const std::string& program) {
  const Roles roles{{"anna.secfwt", "ben.secfwt"}, "board.secfwt"};
  const std::vector<Record> join{Record{7, 0, 3, 0, 0, 0, 3, 0}, Record{7, 0, 10, 0, 0, 0, 0, 0}};
  const std::vector<Record> sum{Record{31, 0, 4, 0, 0, 0, 2, 0}, Record{7, 0, 12, 0, 3, 0, 0, 0}};
  const std::vector<Frame> joined{Frame::hello, Frame::done, Frame::done};
  Target target = sessions(std::make_shared<Parties>(certificates, program, roles),
                           {{script(kModel | kPolite, {Record{7, 0, 2, 0, 0, 0, 0, 0}}), {Frame::hello, Frame::done}},
                            {script(kStays, join), joined},
                            {script(kStays | kSecond, join), joined},
                            {script(kCoordinator | kPolite, sum), {Frame::hello, Frame::result, Frame::done}}});
  // one that asks for its own, one that stays and speaks
  target.seeds.push_back(script(0, {join[0], Record{7, 0, 4, 0, 0, 0, 1, 1}}));
  target.seeds.push_back(script(kSecond, {join[0], join[1], join[1]}));
  return target;
}

}  // namespace secfwt::fuzz
