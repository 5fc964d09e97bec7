// Both ends of a TLS connection in one process, with certificates as secfwt-certs makes them.
#pragma once

#include <sys/socket.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>

#include "net/tls.h"

namespace secfwt::test {

// The holder of FOLDER/FILE.pem and FILE.key.
inline TlsContext identity(const std::string& folder, const std::string& file, const std::string& name) {
  const std::string path = folder + "/" + file;
  return TlsContext(folder + "/ca.pem", path + ".pem", path + ".key", name, {});
}

// The accepting end and the connecting one, which expects `name`; the handshake is complete.
inline std::array<std::unique_ptr<TlsStream>, 2> connected(const TlsContext& accepting, const TlsContext& connecting,
                                                           const std::string& name) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::runtime_error("no sockets");
  std::array<std::unique_ptr<TlsStream>, 2> pair{
      std::make_unique<TlsStream>(accepting.accept(Fd(ends[0]))),
      std::make_unique<TlsStream>(connecting.connect(Fd(ends[1]), name)),
  };
  while ((pair[0]->handshake() != TlsStream::Wait::nothing) | (pair[1]->handshake() != TlsStream::Wait::nothing)) {
  }
  return pair;
}

}  // namespace secfwt::test
