// TCP sockets and wake-ups: file descriptors that close themselves, addresses, the options every connection gets.
#pragma once

#include <poll.h>

#include <chrono>
#include <stdexcept>
#include <string>

namespace secfwt {

using Clock = std::chrono::steady_clock;

// What the user gave cannot work (an address, a file, a key): one line for the user, exit code 2.
struct SetupError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

// A descriptor that one thread makes readable to wake another that polls it.
class Event {
 public:
  Event();
  void set();
  void clear();
  int fd() const { return fd_.get(); }

 private:
  Fd fd_;
};

struct Address {
  std::string host, port;
  std::string text() const { return host + ":" + port; }
};

// "host:port" or "[v6]:port". Throws SetupError, which names `option`.
Address parse_address(const std::string& text, const std::string& option);

// Listens on that one address, non-blocking. Throws SetupError: taken port, unknown host.
Fd listen_on(const Address& address);

// One attempt to connect, given up at the deadline; empty when it did not succeed. The socket is non-blocking. Throws
// SetupError for a host name that does not resolve for good.
Fd connect_to(const Address& address, Clock::time_point deadline);

// No delay for small messages, and little unsent in the kernel; a vanished host is noticed after about `seconds`, idle
// or not.
void set_tcp_options(int fd, int seconds);

// Polls until something happens or the deadline passes; false then. Signals do not end it.
bool poll_until(pollfd* fds, std::size_t n, Clock::time_point deadline);

}  // namespace secfwt
