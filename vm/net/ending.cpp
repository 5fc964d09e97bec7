#include "net/ending.h"

#include <array>
#include <atomic>
#include <csignal>
#include <utility>

namespace secfwt {
namespace {

constexpr std::array<int, 3> kSignals{SIGTERM, SIGINT, SIGHUP};
constexpr auto kUnwinding = std::chrono::seconds(3);  // a step that computes hears of it at its next message

std::atomic<int> first_signal{0};
std::atomic<Event*> to_wake{nullptr};

// An event is a descriptor: setting it is safe in a signal handler.
void on_signal(int number) {
  int none = 0;
  if (!first_signal.compare_exchange_strong(none, number)) return;
  if (Event* event = to_wake) event->set();
}

void end_process() {
  const int number = first_signal;
  std::signal(number, SIG_DFL);
  std::raise(number);
}

}  // namespace

Ending::Ending(std::function<void()> farewell) : farewell_(std::move(farewell)), thread_([this] { run(); }) {
  to_wake = &caught_;
  for (const int number : kSignals)
    if (std::signal(number, on_signal) == SIG_IGN) std::signal(number, SIG_IGN);  // under nohup it stays so
}

Ending::~Ending() {
  over_.set();
  thread_.join();
  to_wake = nullptr;
}

void Ending::run() {
  pollfd fds[2] = {{caught_.fd(), POLLIN, 0}, {over_.fd(), POLLIN, 0}};
  while (!poll_until(fds, 2, Clock::now() + std::chrono::hours(1))) {
  }
  if (!fds[0].revents) return;
  farewell_();
  if (!poll_until(fds + 1, 1, Clock::now() + kUnwinding)) end_process();
}

void finish_ending() {
  if (first_signal) end_process();
}

}  // namespace secfwt
