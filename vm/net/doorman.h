// Takes every incoming connection as far as knowing who it is: certificates, then, from a client, its first frame. A
// thread of its own, so that no stranger and no slow client holds up the service. Clients then wait here until the
// service takes them, or hear that it is busy.
#pragma once

#include <array>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "net/roles.h"
#include "net/tls.h"
#include "net/wire.h"

namespace secfwt {

// A client that proved its name and knows the program.
struct Visitor {
  TlsStream stream;
  std::string name;
  u64 session;  // the number it chose for its session
};

class Doorman {
 public:
  // `roles`: whom it lets in besides the two other parties.
  Doorman(const TlsContext& tls, Fd listener, int id, const Hash& program, const Roles& roles);
  // Gives clients that are on their way out a second to read why.
  ~Doorman();

  // Readable when a client or a party has arrived.
  Event& event() { return arrival_; }
  // The connection that party `id` made. Throws SetupError at the deadline.
  TlsStream wait_for_party(int id, Clock::time_point deadline);

  // The client of that session, or the one that has waited longest; empty if it is not here. Those who wait are told
  // `busy` from now on, after a moment, until open().
  std::optional<Visitor> take(std::optional<u64> session);
  void open();
  // Whether a client is here that has not been told `busy` yet.
  bool anyone_waits();
  // Sends an ERROR and closes the connection once the client has read it.
  void dismiss(Visitor visitor, Complaint complaint, const std::string& text);

 private:
  enum class Phase { handshake, hello, waiting, leaving };
  struct Guest {
    TlsStream stream;
    Phase phase;
    Clock::time_point deadline;
    std::string name = {};
    std::vector<u8> bytes = {};  // HELLO as far as it has arrived, or what is left to send
    u64 session = 0;
    bool sent = false;  // leaving: all is sent, waiting for the client to close
    short events = POLLIN;
    std::size_t slot = 0;     // in the array that is polled; 0: not yet
    std::string source = {};  // the address it comes from
    bool spoke = false;       // has sent something
  };

  void run();
  void accept_some();
  bool make_room(const std::string& source);
  bool stays(Guest& guest, bool ready);
  void advance(Guest& guest);
  void shake_hands(Guest& guest);
  void hear_hello(Guest& guest);
  void see_off(Guest& guest);
  void turn_away(Guest& guest, Complaint complaint, const std::string& text);
  Clock::time_point waiting_deadline() const;

  const TlsContext& tls_;
  const Fd listener_;
  const int id_;
  const Hash program_, known_;
  const std::vector<std::string> clients_;
  std::vector<std::string> names_;  // the parties', then the clients'
  Event wake_, arrival_;

  std::mutex mutex_;  // guards what follows; never held while waiting
  std::list<Guest> guests_;
  std::array<std::optional<TlsStream>, 3> parties_;
  std::array<bool, 3> party_seen_{};
  bool open_ = false, started_ = false, stopping_ = false;

  std::thread thread_;
};

}  // namespace secfwt
