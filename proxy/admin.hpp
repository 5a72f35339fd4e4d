#pragma once
// The admin address: metrics, health, status and the live connections over HTTP. It asks an
// AdminSource and turns the answers into responses; it knows nothing of workers or pools.

#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "proxy/connection_facts.hpp"
#include "proxy/http_listener.hpp"

namespace weir::proxy {

// Called on the admin's thread.
class AdminSource {
 public:
  virtual std::string metrics() = 0;  // text format 0.0.4
  virtual bool ready() = 0;
  virtual boost::json::value status() = 0;
  virtual std::string configuration() = 0;  // in force, as YAML; empty where there is no text of it
  virtual std::vector<ConnectionFacts> connections() = 0;  // all open ones
  virtual bool kill(std::uint64_t id) = 0;                 // false: no such connection

 protected:
  ~AdminSource() = default;
};

class Admin {
 public:
  // Throws std::runtime_error when the address cannot be listened on. `given`: see HttpListener.
  Admin(const config::Address& bind, AdminSource& source, OpenBinding given = {});

  void start() { http_.start(); }
  void stop() { http_.stop(); }
  void hand_over() { http_.hand_over(); }
  int descriptor() { return http_.descriptor(); }
  const Binding& binding() const { return http_.binding(); }
  const config::Address& local_address() const { return http_.local_address(); }

 private:
  HttpListener http_;
};

// The answer to one request; exposed for tests.
HttpResponse answer_admin(AdminSource& source, const HttpRequest& request);

}  // namespace weir::proxy
