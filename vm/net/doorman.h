// Takes every incoming connection as far as knowing who it is: certificates, then, from a client, its first frame. A
// thread of its own, so that no stranger and no slow client holds up the service, and so that a client hears at once
// that the party is busy.
#pragma once

#include <array>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

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
  Doorman(const TlsContext& tls, Fd listener, int id, const Hash& program);
  // Gives clients that are on their way out a second to read why.
  ~Doorman();

  // Readable when a visitor or a party has arrived.
  Event& event() { return arrival_; }
  // The connection that party `id` made. Throws SetupError at the deadline.
  TlsStream wait_for_party(int id, Clock::time_point deadline);
  // The next client, if there is one; the door is then closed (others are told `busy`) until open().
  std::optional<Visitor> take();
  void open();
  // Sends an ERROR and closes the connection once the client has read it.
  void dismiss(Visitor visitor, Complaint complaint, const std::string& text);

 private:
  enum class Phase { handshake, hello, leaving };
  struct Guest {
    TlsStream stream;
    Phase phase;
    Clock::time_point deadline;
    std::string name = {};
    std::vector<u8> bytes = {};  // HELLO as far as it has arrived, or what is left to send
    bool sent = false;           // leaving: all is sent, waiting for the client to close
    short events = POLLIN;
  };

  void run();
  void accept_all();
  bool advance(Guest& guest);  // false when the guest is done with
  bool shake_hands(Guest& guest);
  bool hear_hello(Guest& guest);
  bool see_off(Guest& guest);
  bool turn_away(Guest& guest, Complaint complaint, const std::string& text);

  const TlsContext& tls_;
  const Fd listener_;
  const int id_;
  const Hash program_;
  std::vector<std::string> names_;
  Event wake_, arrival_;

  std::list<Guest> guests_;  // the thread's own

  std::mutex mutex_;  // guards what follows
  std::list<Guest> leaving_;
  std::array<std::optional<TlsStream>, 3> parties_;
  std::array<bool, 3> party_seen_{};
  std::optional<Visitor> visitor_;
  bool open_ = false, started_ = false, stopping_ = false;

  std::thread thread_;
};

}  // namespace secfwt
