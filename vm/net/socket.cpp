#include "net/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>

namespace secfwt {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Addresses resolve(const Address& address, int flags, int* error) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  *error = getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found);
  return Addresses(*error ? nullptr : found, freeaddrinfo);
}

void set_int(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Event::Event() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!fd_) throw std::runtime_error(std::string("cannot create an event descriptor: ") + std::strerror(errno));
}

void Event::set() {
  std::uint64_t one = 1;
  [[maybe_unused]] auto n = write(fd_.get(), &one, sizeof one);
}

void Event::clear() {
  std::uint64_t count;
  [[maybe_unused]] auto n = read(fd_.get(), &count, sizeof count);
}

Address parse_address(const std::string& text, const std::string& option) {
  const auto colon = text.rfind(':');
  Address address;
  if (colon != std::string::npos) address = {text.substr(0, colon), text.substr(colon + 1)};
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']')
    address.host = address.host.substr(1, address.host.size() - 2);
  const bool digits =
      !address.port.empty() && address.port.size() <= 5 &&
      std::all_of(address.port.begin(), address.port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (address.host.empty() || !digits || std::stoi(address.port) < 1 || std::stoi(address.port) > 65535)
    throw SetupError(option + " " + text + ": expected HOST:PORT with a port from 1 to 65535");
  return address;
}

Fd listen_on(const Address& address) {
  int error = 0;
  const auto found = resolve(address, AI_PASSIVE, &error);
  if (!found) throw SetupError("cannot listen on " + address.text() + ": " + gai_strerror(error));
  std::string reason;
  for (auto* a = found.get(); a; a = a->ai_next) {
    Fd fd(socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol));
    if (fd) set_int(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (fd && bind(fd.get(), a->ai_addr, a->ai_addrlen) == 0 && listen(fd.get(), 64) == 0) return fd;
    reason = std::strerror(errno);
  }
  throw SetupError("cannot listen on " + address.text() + ": " + reason);
}

Fd connect_to(const Address& address, Clock::time_point deadline) {
  int error = 0;
  const auto found = resolve(address, 0, &error);
  if (!found && error != EAI_AGAIN) throw SetupError("cannot resolve " + address.text() + ": " + gai_strerror(error));
  for (auto* a = found.get(); a; a = a->ai_next) {
    Fd fd(socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol));
    if (!fd) continue;
    if (connect(fd.get(), a->ai_addr, a->ai_addrlen) != 0) {
      pollfd waiting{fd.get(), POLLOUT, 0};
      int failure = 0;
      socklen_t size = sizeof failure;
      if (errno != EINPROGRESS || !poll_until(&waiting, 1, deadline)) continue;
      if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failure, &size) != 0 || failure) continue;
    }
    return fd;
  }
  return Fd();
}

void set_tcp_options(int fd, int seconds) {
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1 << 16);  // what is urgent waits for no more than this
  set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, std::max(1, seconds / 2));
  set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, std::max(1, seconds / 2));
  set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, seconds * 1000);
}

bool poll_until(pollfd* fds, std::size_t n, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const int ready = poll(fds, n, static_cast<int>(std::clamp<long long>(left + 1, 0, 1 << 30)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) throw std::runtime_error(std::string("poll: ") + std::strerror(errno));
    if (Clock::now() >= deadline) return false;
  }
}

}  // namespace secfwt
