// secfwt-vm: one party of three, as a network service.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include "mpc/engine.h"
#include "mpc/program_limits.h"
#include "mpc/program_line.h"
#include "net/describe.h"
#include "net/ending.h"
#include "net/log.h"
#include "net/meeting.h"
#include "net/options.h"
#include "net/roles.h"
#include "net/service.h"
#include "ring/host_memory.h"
#include "ring/parallel.h"

namespace secfwt {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) throw SetupError("cannot read program " + path);
  return text.str();
}

// The clients that the deployment names. Throws SetupError where the program is for one data owner and they are
// several, or the other way round.
Roles read_roles(const Options& options, const Program& program) {
  Roles roles;
  const bool several = options.has("--owners"), summed = program.sums_owners();
  if (several != options.has("--coordinator")) throw SetupError("--owners and --coordinator belong together");
  if (several != summed)
    throw SetupError(summed ? "the program opens sums over several data owners, the deployment names none"
                            : "the deployment names several data owners, the program opens no sum over them: generate "
                              "it with secfwt-gen --min-owners");
  if (!several) return roles;
  roles.owners = split(options.text("--owners"), ',');
  roles.coordinator = options.text("--coordinator");
  if (roles.owners.size() > static_cast<std::size_t>(kOwners.most))
    throw SetupError("--owners names " + std::to_string(roles.owners.size()) + ", at most " +
                     std::to_string(kOwners.most) + " are possible");
  return roles;
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
  const int id = static_cast<int>(options.number("--party"));
  const Address own = parse_address(options.text("--listen"), "--listen");
  std::array<Address, 3> addresses;
  for (int peer = 0; peer < 3; ++peer) {
    const std::string option = "--peer" + std::to_string(peer);
    if (peer != id) addresses[peer] = parse_address(options.text(option), option);
  }
  set_threads(static_cast<unsigned>(options.number("--threads")));
  const u64 lane_count = options.number("--lanes");
  const u64 tile_words = options.number("--tile-words");
  const u64 ahead = options.number("--ahead-mb") << 20;
  const auto deadline = Clock::now() + std::chrono::seconds(options.number("--connect-timeout"));

  const std::string text = read_file(options.text("--program"));
  const Hash hash = hash_of(text);
  Program program = parse_program(text);
  PublicWeights constants;
  if (program.words(Kind::constant) > 0) {
    constants = PublicWeights::of_file(options.text("--public-weights"));
    constants.check(program);
  }
  const Roles roles = read_roles(options, program);
  const TlsContext tls(options.text("--ca"), options.text("--cert"), options.text("--key"), party_name(id),
                       options.has("--pins") ? parse_pins(options.text("--pins")) : Pins{});

  Doorman doorman(tls, listen_on(own), id, hash, roles);
  PeerGroup group;
  // Parties that cut a step differently would put the same pads to different uses.
  const Hash agreed = hash_of(text + "\nparties 7 owners " + roles.named(~u64{0}) + " coordinator " +
                              roles.coordinator + " tile-words " + std::to_string(tile_words) + " lanes " +
                              std::to_string(lane_count) + " ahead " + std::to_string(ahead));
  // Tuples ahead, and what a round has in flight: a peer that is a round before this party may send much at once.
  const PeerLimits unread{static_cast<u32>(lane_count), static_cast<u32>(lane_count * program.fits.size()),
                          ahead + usable_memory() / 2};
  const auto links = meet(id, addresses, tls, doorman, agreed, group, unread, deadline);
  const Ending ending([&] {
    group.end("ended by its operator");
    for (const auto& link : links)
      if (link) link->farewell();
  });
  PeerLink &prev = *links[(id + 2) % 3], &next = *links[(id + 1) % 3];
  Lanes lanes = connect_lanes(id, lane_count, program.fits, prev, next);
  Engine engine(std::move(program), lanes, tile_words, ahead, std::move(constants));
  log_line("keeps at most " + std::to_string(ahead >> 20) + " MB of randomness for the next step");
  if (engine.program().words(Kind::weight) == 0) engine.set_weights({});
  Agreement agreement(id, prev.channel(0), next.channel(0), group);
  std::cout << "listening" << std::endl;
  const Service::Limits limits{std::chrono::seconds(options.number("--idle-timeout")),
                               std::chrono::seconds(options.number("--command-timeout")), usable_memory()};
  Service(engine, agreement, doorman, group, limits, roles).run();
  return 0;
}

int run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);  // a dump would hold shares and keys
  prctl(PR_SET_DUMPABLE, 0);      // nor may one be piped to a collector, or another process of this user look inside
  std::setvbuf(stderr, nullptr, _IOLBF, 0);
  try {
    const Options options(argc, argv);
    if (!options.has("--describe")) return serve(options);
    std::cout << describe() << std::endl;
    return 0;
  } catch (const SetupError& error) {
    log_line(std::string("secfwt-vm: ") + error.what());
    return 2;
  } catch (const ProgramError& error) {
    log_line(std::string("secfwt-vm: program: ") + error.what());
    return 2;
  } catch (const PeerLost& loss) {
    log_line(std::string("secfwt-vm: ") + loss.what());
    finish_ending();
    return 3;
  } catch (const std::exception& error) {
    log_line(std::string("secfwt-vm: ") + error.what());
    return 1;
  }
}

}  // namespace
}  // namespace secfwt

int main(int argc, char** argv) { return secfwt::run(argc, argv); }
