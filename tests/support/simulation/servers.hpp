#pragma once
// The model's servers, and the connections to them as both ends see them: whether the server is
// still there, whose bytes it remembers, which client a PROXY header has named.

#include <cstdint>
#include <memory>
#include <vector>

#include "pool/ledger.hpp"
#include "tests/support/simulation/scenario.hpp"

namespace weir::pool {

struct Client;

using ClientId = std::uint32_t;
inline constexpr ClientId nobody = 0;

struct ModelServer {
  // refusing: nothing listens. black_hole: nothing answers. closing: what is accepted is closed.
  enum class State : std::uint8_t { up, slow, refusing, black_hole, closing };

  State state = State::up;
  std::uint32_t sockets = 0;  // open or being opened

  bool answers() const { return state == State::up || state == State::slow; }
};

// A connection as its worker holds it.
struct ModelConnection final : Connection {
  enum class Stage : std::uint8_t { connecting, idle, leased, resetting, travelling };

  std::uint32_t id = 0;
  std::uint16_t port = 0;  // its server
  Stage stage = Stage::connecting;
  std::unique_ptr<Opening> opening;
  std::uint32_t turn = 0;  // what was planned for it in an earlier turn has lost its meaning
  Client* client = nullptr;
  bool shut = false;       // the socket is closed; an action about it is on its way
  std::uint32_t lent = 0;  // to clients that got it

  // What has arrived from the server.
  bool left = false;    // FIN or RST
  bool spoken = false;  // bytes that nobody has asked for
  bool good() const { return !left && !spoken; }
  Closed cause_of_death() const { return left ? Closed::peer_closed : Closed::unexpected_bytes; }

  // What the server knows.
  ClientId remembers = nobody;
  ClientId header = nobody;
  std::uint32_t spoken_on = 0;  // how many clients have sent it something
};

class Servers {
 public:
  explicit Servers(const Scenario& scenario) : servers_(scenario.servers + 1U) {}

  std::uint16_t count() const { return static_cast<std::uint16_t>(servers_.size() - 1); }
  // By port, from 1 on.
  ModelServer& at(std::uint16_t port) { return servers_[port]; }

 private:
  std::vector<ModelServer> servers_;
};

// All that are open, by id.
class Connections {
 public:
  ModelConnection& add() {
    const auto id = static_cast<std::uint32_t>(all_.size());
    all_.push_back(std::make_unique<ModelConnection>());
    all_.back()->id = id;
    ++open_;
    return *all_.back();
  }
  // Null: it is closed.
  ModelConnection* find(std::uint32_t id) { return all_[id].get(); }
  void remove(ModelConnection& connection) {
    all_[connection.id].reset();
    --open_;
    while (first_ < all_.size() && all_[first_] == nullptr) ++first_;
  }
  std::size_t open() const { return open_; }
  template <class Visit>
  void for_each(Visit&& visit) {
    for (std::size_t i = first_; i < all_.size(); ++i) {
      if (all_[i] != nullptr) visit(*all_[i]);
    }
  }

 private:
  std::vector<std::unique_ptr<ModelConnection>> all_;
  std::size_t first_ = 0;  // none before is open
  std::size_t open_ = 0;
};

}  // namespace weir::pool
