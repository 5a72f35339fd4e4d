// A used connection is lent again: its server is asked to forget the client, twice (`mode: reset`).

#include <span>

#include "proxy/connections.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {
namespace {

// A half-finished command may swallow one reset, but not two, each sent after the answer to the one
// before.
constexpr std::uint8_t resets = 2;

}  // namespace

void Connections::lease_kept(std::unique_ptr<ServerConnection> owned) {
  const TimePoint now = worker_.loop().now();
  const auto worn_out =
      upstream_.look([&](const pool::Ledger& ledger) { return ledger.worn_out(*owned, now); });
  if (worn_out) {
    lease_dropped(std::move(owned), *worn_out);
    return;
  }
  ServerConnection& connection = *owned.release();
  held_.push_back(connection);
  connection.stream_.change_owner(connection);
  connection.stage_ = ServerConnection::Stage::resetting;
  connection.resets_left_ = resets;
  send_reset(connection);
}

void Connections::send_reset(ServerConnection& connection) {
  const config::Reset& reset = *connection.rules().config.pool.reset;
  connection.heard_ = nullptr;
  EventLoop& loop = worker_.loop();
  connection.clear();
  connection.set(loop.deadlines(), loop.now() + reset.timeout);
  if (!connection.stream_.write(std::as_bytes(std::span(reset.send)))) reset_failed(connection);
}

void Connections::reset_answered(ServerConnection& connection) {
  const std::string& expected = connection.rules().config.pool.reset->expect;
  Stream& stream = connection.stream_;
  if (stream.has_unsent() && !stream.flush()) return reset_failed(connection);
  if (stream.hung_up() || !connection.hear(expected.size())) return reset_failed(connection);
  if (!connection.heard_) return;
  if (!expected.starts_with(*connection.heard_)) return reset_failed(connection);
  if (connection.heard_->size() < expected.size()) return;
  if (--connection.resets_left_ > 0) return send_reset(connection);
  connection.heard_ = nullptr;
  std::unique_ptr<ServerConnection> owned = take(connection);
  const TimePoint now = worker_.loop().now();
  auto placed = upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    return ledger.returned(connection, now, actions);
  });
  place(std::move(owned), std::move(placed), pool::Source::idle);
}

void Connections::reset_failed(ServerConnection& connection) {
  lease_dropped(take(connection), pool::Closed::reset_failed);
}

}  // namespace weir::proxy
