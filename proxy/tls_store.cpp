#include "proxy/tls_store.hpp"

#include <openssl/evp.h>

#include <array>

#include "config/file.hpp"
#include "proxy/file_content.hpp"

namespace weir::proxy {
namespace {

// SHA-256 over files, each behind its length: empty when one cannot be read, which is no file's
// digest and so never the same again.
class FileDigest {
 public:
  FileDigest() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    good_ = EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
  }

  void add_file(const std::string& path) {
    const auto bytes = config::read_regular_file(path, largest_tls_file);
    good_ = good_ && bytes.has_value();
    if (!good_) return;
    const std::size_t size = bytes->size();
    add(&size, sizeof size);
    add(bytes->data(), size);
  }

  std::string finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    good_ = good_ && EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1;
    return good_ ? std::string(digest.begin(), digest.begin() + size) : std::string();
  }

 private:
  void add(const void* bytes, std::size_t size) {
    good_ = good_ && EVP_DigestUpdate(context_.get(), bytes, size) == 1;
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  bool good_ = false;
};

void add_certificate(FileDigest& digest, const config::Certificate& certificate) {
  if (!certificate.cert_pem) digest.add_file(certificate.cert);
  if (!certificate.key_pem) digest.add_file(certificate.key);
}

std::string digest_of(const config::TlsSettings& settings) {
  FileDigest digest;
  for (const config::Certificate& each : settings.certificates) add_certificate(digest, each);
  const config::ClientCertificate& client = settings.client_certificate;
  for (const std::string& each : {client.ca, client.crl, settings.session_tickets.key_file}) {
    if (!each.empty()) digest.add_file(each);
  }
  return digest.finish();
}

std::string digest_of(const config::UpstreamTls& settings) {
  FileDigest digest;
  if (settings.ca != "system") digest.add_file(settings.ca);
  if (settings.certificate) add_certificate(digest, *settings.certificate);
  return digest.finish();
}

// What was made before of the same, or null.
template <class Known, class Made>
const Made* unchanged(const Known& known, const std::string& name, const Made& now) {
  const auto found = known.find(name);
  const bool same = found != known.end() && !now.digest.empty() &&
                    found->second.digest == now.digest && found->second.settings == now.settings;
  return same ? &found->second : nullptr;
}

}  // namespace

// The digest is taken first: what changes after that is seen to have changed the next time.
TlsStore TlsStore::make(const config::Config& config, std::vector<config::Problem>& problems,
                        const TlsStore& before) {
  TlsStore store;
  for (const auto& [name, settings] : config.tls) {
    auto& made = store.servers_[name];
    made.settings = settings;
    made.digest = digest_of(settings);
    if (const auto* same = unchanged(before.servers_, name, made)) {
      made.object = same->object;
    } else {
      made.object = TlsServer::make(settings, problems, before.server(name).get());
    }
  }
  for (const config::Upstream& upstream : config.upstreams) {
    if (!upstream.tls) continue;
    auto& made = store.clients_[upstream.name];
    made.settings = *upstream.tls;
    made.digest = digest_of(*upstream.tls);
    if (const auto* same = unchanged(before.clients_, upstream.name, made)) {
      made.object = same->object;
    } else {
      made.object = TlsClient::make(*upstream.tls, problems);
    }
  }
  return store;
}

TlsStore TlsStore::renewed(const config::Config& config,
                           std::vector<config::Problem>& problems) const {
  TlsStore store = make(config, problems, *this);
  // With the old digest, so that they are tried again.
  for (auto& [name, made] : store.servers_) {
    if (made.object == nullptr) made = servers_.at(name);
  }
  for (auto& [name, made] : store.clients_) {
    if (made.object == nullptr) made = clients_.at(name);
  }
  return store;
}

std::shared_ptr<const TlsServer> TlsStore::server(const std::string& settings) const {
  const auto found = servers_.find(settings);
  return found == servers_.end() ? nullptr : found->second.object;
}

std::shared_ptr<const TlsClient> TlsStore::client(const std::string& upstream) const {
  const auto found = clients_.find(upstream);
  return found == clients_.end() ? nullptr : found->second.object;
}

std::map<std::string, std::vector<CertificateExpiry>> TlsStore::expiries() const {
  std::map<std::string, std::vector<CertificateExpiry>> all;
  for (const auto& [name, made] : servers_) all[name] = made.object->expiries();
  return all;
}

}  // namespace weir::proxy
