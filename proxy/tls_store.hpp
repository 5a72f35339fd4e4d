#pragma once
// All that a configuration's certificate and key files make: the TlsServer of each `tls` settings,
// the TlsClient of each upstream. Made before anything runs, so that `weir check` and the server
// find the same mistakes. A plain value; what it holds is shared with whoever uses it.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "proxy/tls.hpp"

namespace weir::proxy {

class TlsStore {
 public:
  // What is made from the same settings and the same bytes of files as in `before` is taken from
  // there, with its session tickets. What is wrong is reported, at its place; then the store is of
  // no use.
  static TlsStore make(const config::Config& config, std::vector<config::Problem>& problems,
                       const TlsStore& before = {});

  // The same, of the configuration that this store is of, where files have changed: what is wrong
  // with their new contents is reported, and what was made of the old ones stays.
  TlsStore renewed(const config::Config& config, std::vector<config::Problem>& problems) const;

  // Null: there are no such settings, or the upstream has plaintext endpoints.
  std::shared_ptr<const TlsServer> server(const std::string& settings) const;
  std::shared_ptr<const TlsClient> client(const std::string& upstream) const;

  // When certificates end: by name of the settings.
  std::map<std::string, std::vector<CertificateExpiry>> expiries() const;

 private:
  template <class Object, class Settings>
  struct Made {
    Settings settings;
    std::string digest;  // of the files
    std::shared_ptr<const Object> object;
  };
  std::map<std::string, Made<TlsServer, config::TlsSettings>> servers_;
  std::map<std::string, Made<TlsClient, config::UpstreamTls>> clients_;
};

}  // namespace weir::proxy
