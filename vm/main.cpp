// secfwt-vm: one party of three, as a network service.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "mpc/engine.h"
#include "net/log.h"
#include "net/meeting.h"
#include "net/service.h"
#include "ring/parallel.h"

namespace secfwt {
namespace {

constexpr const char* kUsage =
    "usage: secfwt-vm --party 0|1|2 --program FILE --listen HOST:PORT --peer0 HOST:PORT --peer1 HOST:PORT --peer2 "
    "HOST:PORT\n"
    "                 --ca FILE --cert FILE --key FILE [--threads N] [--lanes N] [--tile-words N] [--ahead-mb N] "
    "[--connect-timeout SECONDS] [--stop-with-stdin]\n"
    "exit codes: 0 stopped by the data owner, 2 cannot start, 3 another party is gone, 1 anything else";

class Options {
 public:
  Options(int argc, char** argv) {
    const std::set<std::string> known{
        "--party", "--program", "--listen",  "--peer0", "--peer1",      "--peer2",    "--ca",
        "--cert",  "--key",     "--threads", "--lanes", "--tile-words", "--ahead-mb", "--connect-timeout"};
    for (int i = 1; i < argc; ++i) {
      const std::string option = argv[i];
      if (option == "--stop-with-stdin") {
        values_[option] = "";
      } else if (!known.count(option)) {
        throw SetupError("unknown option " + option + "\n" + kUsage);
      } else if (i + 1 == argc) {
        throw SetupError(option + " needs a value\n" + kUsage);
      } else {
        values_[option] = argv[++i];
      }
    }
  }

  bool has(const std::string& option) const { return values_.count(option) > 0; }

  const std::string& text(const std::string& option) const {
    const auto found = values_.find(option);
    if (found == values_.end()) throw SetupError(option + " is missing\n" + kUsage);
    return found->second;
  }

  u64 number(const std::string& option, u64 fallback, u64 low, u64 high) const {
    if (!has(option)) return fallback;
    const std::string& value = text(option);
    const bool digits =
        !value.empty() && value.size() < 19 && value.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || std::stoull(value) < low || std::stoull(value) > high)
      throw SetupError(option + " " + value + ": expected a number from " + std::to_string(low) + " to " +
                       std::to_string(high));
    return std::stoull(value);
  }

 private:
  std::map<std::string, std::string> values_;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) throw SetupError("cannot read program " + path);
  return text.str();
}

// Ends with whoever holds the other end of the standard input: local parties do not outlive the process that started
// them.
void stop_with_stdin() {
  std::thread([] {
    char waste[64];
    while (read(STDIN_FILENO, waste, sizeof waste) > 0) {
    }
    std::_Exit(0);
  }).detach();
}

int serve(const Options& options) {
  if (options.has("--stop-with-stdin")) stop_with_stdin();
  const int id = static_cast<int>(options.number("--party", 3, 0, 2));
  if (id == 3) throw SetupError(std::string("--party is missing\n") + kUsage);
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  set_threads(static_cast<unsigned>(options.number("--threads", cores, 1, 1024)));
  const u64 lane_count = options.number("--lanes", 2, 1, 64);
  const u64 tile_words = options.number("--tile-words", u64{1} << 22, 1 << 10, u64{1} << 40);
  const u64 ahead = options.number("--ahead-mb", 256, 0, u64{1} << 20) << 20;
  const auto deadline = Clock::now() + std::chrono::seconds(options.number("--connect-timeout", 60, 1, 86400));
  const Address own = parse_address(options.text("--listen"), "--listen");
  std::array<Address, 3> addresses;
  for (int peer = 0; peer < 3; ++peer) {
    const std::string option = "--peer" + std::to_string(peer);
    if (peer != id) addresses[peer] = parse_address(options.text(option), option);
  }

  const std::string text = read_file(options.text("--program"));
  const Hash hash = hash_of(text);
  Program program = parse_program(text);
  const TlsContext tls(options.text("--ca"), options.text("--cert"), options.text("--key"), party_name(id));

  Doorman doorman(tls, listen_on(own), id, hash);
  PeerGroup group;
  // Parties that cut a step differently would put the same pads to different uses.
  const Hash agreed = hash_of(text + "\nparties 4 tile-words " + std::to_string(tile_words) + " lanes " +
                              std::to_string(lane_count) + " ahead " + std::to_string(ahead));
  const auto links = meet(id, addresses, tls, doorman, agreed, group, deadline);
  PeerLink &prev = *links[(id + 2) % 3], &next = *links[(id + 1) % 3];
  Lanes lanes = connect_lanes(id, lane_count, program.fits, prev, next);
  Engine engine(std::move(program), lanes, tile_words, ahead);
  log_line("keeps at most " + std::to_string(ahead >> 20) + " MB of randomness for the next step");
  if (engine.program().words(Kind::weight) == 0) engine.set_weights({});
  Agreement agreement(id, prev.channel(0), next.channel(0), group);
  std::cout << "listening" << std::endl;
  Service(engine, agreement, doorman, group).run();
  return 0;
}

int run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);  // a dump would hold shares and keys
  prctl(PR_SET_DUMPABLE, 0);      // nor may one be piped to a collector, or another process of this user look inside
  std::setvbuf(stderr, nullptr, _IOLBF, 0);
  try {
    return serve(Options(argc, argv));
  } catch (const SetupError& error) {
    log_line(std::string("secfwt-vm: ") + error.what());
    return 2;
  } catch (const ProgramError& error) {
    log_line(std::string("secfwt-vm: program: ") + error.what());
    return 2;
  } catch (const PeerLost& loss) {
    log_line(std::string("secfwt-vm: ") + loss.what());
    return 3;
  } catch (const std::exception& error) {
    log_line(std::string("secfwt-vm: ") + error.what());
    return 1;
  }
}

}  // namespace
}  // namespace secfwt

int main(int argc, char** argv) { return secfwt::run(argc, argv); }
