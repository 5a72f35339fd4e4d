#include "proxy/tls.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "proxy/client_certificates.hpp"
#include "proxy/stream.hpp"
#include "proxy/ticket_key_file.hpp"
#include "proxy/ticket_keys.hpp"
#include "proxy/tls_certificate.hpp"
#include "proxy/tls_offer.hpp"
#include "proxy/tls_provider.hpp"

namespace weir::proxy {
namespace {

using ContextPointer = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

// AES-128 first: RFC 8446 makes it the one that everybody has, it is as strong as the key exchange,
// and it costs less than AES-256 with SHA-384. Clients that put ChaCha20 first get that.
constexpr const char* tls13_ciphers =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

// Mozilla server-side TLS 6.0, "intermediate".
#define WEIR_INTERMEDIATE_CIPHERS                                                            \
  "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
  "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
constexpr const char* intermediate_ciphers = WEIR_INTERMEDIATE_CIPHERS;

// To endpoints the same come first; whoever has none of them is met with OpenSSL's defaults.
constexpr const char* client_ciphers = WEIR_INTERMEDIATE_CIPHERS ":ALL:!COMPLEMENTOFDEFAULT:!eNULL";

// OpenSSL 3.0 refuses a whole list for one name it does not know, so each is tried alone.
void set_groups(SSL_CTX* context) {
  std::string groups;
  for (const char* group : {"X25519MLKEM768", "X25519", "P-256", "P-384"}) {
    const ContextPointer probe(SSL_CTX_new(TLS_method()), &SSL_CTX_free);
    if (probe && SSL_CTX_set1_groups_list(probe.get(), group) == 1) {
      groups += (groups.empty() ? "" : ":") + std::string(group);
    }
  }
  ERR_clear_error();
  SSL_CTX_set1_groups_list(context, groups.c_str());
}

void set_common(SSL_CTX* context) {
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_ciphersuites(context, tls13_ciphers);
  set_groups(context);
}

// A list of protocols as ALPN writes it: each behind its length.
std::vector<unsigned char> alpn_wire(const std::vector<std::string>& protocols) {
  std::vector<unsigned char> wire;
  for (const std::string& protocol : protocols) {
    wire.push_back(static_cast<unsigned char>(protocol.size()));
    wire.insert(wire.end(), protocol.begin(), protocol.end());
  }
  return wire;
}

}  // namespace

class TlsServer::State {
 public:
  struct Choice {
    SSL_CTX* ecdsa = nullptr;
    SSL_CTX* other = nullptr;
    SSL_CTX* pick(bool client_takes_ecdsa) const {
      if (client_takes_ecdsa && ecdsa != nullptr) return ecdsa;
      return other != nullptr ? other : ecdsa;
    }
  };

  explicit State(const config::TlsSettings& from) : settings(from) {}

  bool read_keys(const State* before, std::vector<config::Problem>& problems);
  bool read_clients(std::vector<config::Problem>& problems);
  bool add(const config::Certificate& files, std::vector<config::Problem>& problems);
  const Choice* find(const std::string& server_name) const;
  // Null when a client that asks for this name is turned away.
  const Choice* choice_for(const std::string& server_name) const;

  static int choose(SSL* ssl, int* alert, void* self);
  static int choose_protocol(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                             const unsigned char* offered, unsigned offered_size, void* self);

  config::TlsSettings settings;
  std::shared_ptr<TicketKeys> tickets;
  std::unique_ptr<ClientCertificates> clients;  // null: none are asked for
  std::vector<unsigned char> protocols;
  std::vector<ContextPointer> contexts;
  std::unordered_map<std::string, Choice> exact;      // "www.example.com"
  std::unordered_map<std::string, Choice> wildcards;  // "example.com" for *.example.com
  Choice first;
  std::vector<std::string> first_names;
  std::vector<CertificateExpiry> expiries;
};

// A file is read each time: it changes while its path stays.
bool TlsServer::State::read_keys(const State* before, std::vector<config::Problem>& problems) {
  const config::SessionTickets& wanted = settings.session_tickets;
  if (!wanted.key_file.empty()) {
    auto keys = read_ticket_keys(wanted, problems);
    if (keys) tickets = std::make_shared<TicketKeys>(std::move(*keys));
    return keys.has_value();
  }
  const bool go_on = before != nullptr && before->settings.session_tickets == wanted;
  tickets = go_on ? before->tickets : std::make_shared<TicketKeys>(wanted.rotate);
  return true;
}

bool TlsServer::State::read_clients(std::vector<config::Problem>& problems) {
  if (settings.client_certificate.verify == config::ClientVerify::off) return true;
  clients = ClientCertificates::make(settings.client_certificate, problems);
  return clients != nullptr;
}

bool TlsServer::State::add(const config::Certificate& files,
                           std::vector<config::Problem>& problems) {
  const std::optional<KeyedCertificate> loaded = load_certificate(files, problems);
  if (!loaded) return false;
  warn_of_expiry(*loaded, files, std::chrono::system_clock::now(), problems);
  ContextPointer context(SSL_CTX_new_ex(nullptr, tls_properties(), TLS_server_method()),
                         &SSL_CTX_free);
  set_common(context.get());
  SSL_CTX_set_cipher_list(context.get(), intermediate_ciphers);
  SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  if (settings.profile == config::TlsProfile::modern) {
    SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  }
  if (!use_certificate(context.get(), *loaded, files, problems)) return false;
  // Sessions live in the clients' tickets; a cache here would only cost memory and a lock.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  const auto* id = reinterpret_cast<const unsigned char*>(settings.name.data());
  SSL_CTX_set_session_id_context(
      context.get(), id,
      static_cast<unsigned>(std::min<std::size_t>(settings.name.size(), SSL_MAX_SID_CTX_LENGTH)));
  if (clients && !clients->serve(context.get(), settings.name)) {
    problems.push_back(tls_problem(settings.client_certificate.ca_place,
                                   "OpenSSL refuses the authorities: " + last_openssl_error()));
    return false;
  }
  if (settings.session_tickets.enabled) {
    // None where their file is wrong: then the settings are not used.
    if (tickets != nullptr) tickets->serve(context.get());
    SSL_CTX_set_num_tickets(context.get(), 2);
  } else {
    SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context.get(), 0);
  }
  SSL_CTX_set_client_hello_cb(context.get(), &State::choose, this);
  if (!protocols.empty()) {
    SSL_CTX_set_alpn_select_cb(context.get(), &State::choose_protocol, this);
  }
  const auto enter = [&](Choice& choice) {
    SSL_CTX*& place = loaded->is_ecdsa ? choice.ecdsa : choice.other;
    if (place == nullptr) place = context.get();
  };
  for (const std::string& name : loaded->server_names) {
    if (name.starts_with("*.")) {
      enter(wildcards[name.substr(2)]);
    } else {
      enter(exact[name]);
    }
  }
  if (contexts.empty()) enter(first);
  // The default has a twin of the other kind when a later certificate has the same names.
  if (!contexts.empty() && loaded->server_names == first_names) enter(first);
  if (contexts.empty()) first_names = loaded->server_names;
  expiries.push_back({loaded->display_name, loaded->not_after});
  contexts.push_back(std::move(context));
  return true;
}

const TlsServer::State::Choice* TlsServer::State::find(const std::string& server_name) const {
  if (const auto found = exact.find(server_name); found != exact.end()) return &found->second;
  const std::size_t dot = server_name.find('.');
  if (dot == std::string::npos) return nullptr;
  // A wildcard of a certificate stands for exactly one label: RFC 6125, 6.4.3.
  const auto found = wildcards.find(server_name.substr(dot + 1));
  return found == wildcards.end() ? nullptr : &found->second;
}

const TlsServer::State::Choice* TlsServer::State::choice_for(const std::string& server_name) const {
  const Choice* choice = server_name.empty() ? nullptr : find(server_name);
  if (choice != nullptr) return choice;
  return settings.unknown_server_name == config::UnknownServerName::reject ? nullptr : &first;
}

// Runs first in a handshake, before OpenSSL settles on anything.
int TlsServer::State::choose(SSL* ssl, int* alert, void* self) {
  std::string name = offered_server_name(ssl);
  const Choice* choice = static_cast<State*>(self)->choice_for(name);
  keep_server_name(ssl, std::move(name));
  if (choice == nullptr) {
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    ERR_raise_data(ERR_LIB_SSL, SSL_R_TLSV1_UNRECOGNIZED_NAME, "no certificate for this name");
    return SSL_CLIENT_HELLO_ERROR;
  }
  SSL_CTX* context = choice->pick(offers_ecdsa(ssl));
  if (context != SSL_get_SSL_CTX(ssl)) SSL_set_SSL_CTX(ssl, context);
  return SSL_CLIENT_HELLO_SUCCESS;
}

// The server's order decides. No common protocol ends the handshake: RFC 7301, 3.2.
int TlsServer::State::choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                                      const unsigned char* offered, unsigned offered_size,
                                      void* self) {
  const auto& ours = static_cast<State*>(self)->protocols;
  unsigned char* chosen = nullptr;
  const int result = SSL_select_next_proto(
      &chosen, out_size, ours.data(), static_cast<unsigned>(ours.size()), offered, offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

CertificateChoice TlsServer::certificates_for(const std::string& server_name) const {
  CertificateChoice result;
  const State::Choice* choice = state_->choice_for(server_name);
  if (choice == nullptr) return result;
  result.by_name = choice != &state_->first;
  // One context for each certificate, in the order of the settings.
  for (const bool takes_ecdsa : {true, false}) {
    const auto found =
        std::ranges::find(state_->contexts, choice->pick(takes_ecdsa), &ContextPointer::get);
    const auto place = static_cast<std::size_t>(found - state_->contexts.begin());
    if (result.places.empty() || result.places.front() != place) result.places.push_back(place);
  }
  return result;
}

TlsServer::TlsServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsServer::~TlsServer() = default;

std::unique_ptr<TlsServer> TlsServer::make(const config::TlsSettings& settings,
                                           std::vector<config::Problem>& problems,
                                           const TlsServer* before) {
  auto state = std::make_unique<State>(settings);
  state->protocols = alpn_wire(settings.alpn);
  bool good = state->read_keys(before == nullptr ? nullptr : before->state_.get(), problems);
  good = state->read_clients(problems) && good;
  for (const config::Certificate& certificate : settings.certificates) {
    good = state->add(certificate, problems) && good;
  }
  if (!good) return nullptr;
  return std::unique_ptr<TlsServer>(new TlsServer(std::move(state)));
}

std::string TlsServer::judge(const ssl_st* ssl, TlsFacts& facts) const {
  facts = tls_facts(ssl);
  return state_->clients ? state_->clients->judge(ssl, facts) : "";
}

ssl_st* TlsServer::accept() const {
  SSL* ssl = SSL_new(state_->contexts.front().get());
  if (ssl != nullptr) SSL_set_accept_state(ssl);
  return ssl;
}

std::vector<CertificateExpiry> TlsServer::expiries() const {
  return state_->expiries;
}

class TlsClient::State {
 public:
  explicit State(const config::UpstreamTls& from) : settings(from) {}

  static int keep_session(SSL* ssl, SSL_SESSION* session);
  bool make(ContextPointer& context, std::vector<config::Problem>& problems);
  bool resumes_lightly(const SSL_SESSION* session) const;

  config::UpstreamTls settings;
  ContextPointer context{nullptr, &SSL_CTX_free};
  // For a TLS 1.2 session that is resumed: it resumes nothing but TLS 1.2, so the key share of TLS
  // 1.3, which costs more than all the rest, and the long list of ciphers are left out.
  ContextPointer resuming{nullptr, &SSL_CTX_free};
  std::vector<unsigned char> protocols;
  using Session = std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)>;
  // A TLS 1.3 ticket is used once (RFC 8446, C.4), and many connections open at the same time: each
  // endpoint has a stack of them, the newest on top.
  static constexpr std::size_t most_sessions = 64;
  Session next_session(std::size_t endpoint);
  std::mutex mutex;
  std::unordered_map<std::size_t, std::deque<Session>> sessions;
};

namespace {

int client_state_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// The authorities that a peer's certificate is verified against, parsed before threads share them.
bool trust(SSL_CTX* context, const config::UpstreamTls& settings) {
  if (settings.ca == "system") {
    // Not an error where there is no system store: verification then says what it misses.
    SSL_CTX_set_default_verify_paths(context);
  } else if (SSL_CTX_load_verify_file(context, settings.ca.c_str()) != 1) {
    return false;
  }
  const STACK_OF(X509_OBJECT)* authorities =
      X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  for (int i = 0; i < sk_X509_OBJECT_num(authorities); ++i) {
    X509* authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(authorities, i));
    if (authority != nullptr) prepare(authority);
  }
  return true;
}

// May a TLS 1.2 session still be resumed? By the server's word (RFC 5077, 3.3) and OpenSSL's.
bool is_current(const SSL_SESSION* session) {
  long lifetime = SSL_SESSION_get_timeout(session);
  const unsigned long hint = SSL_SESSION_get_ticket_lifetime_hint(session);
  if (hint != 0) lifetime = std::min(lifetime, static_cast<long>(std::min(hint, 604800UL)));
  return std::time(nullptr) < SSL_SESSION_get_time(session) + lifetime;
}

// Whom the peer has to prove to be. False when that cannot be set: then nobody is trusted.
bool expect(SSL* ssl, const config::UpstreamTls& settings, const std::string& host) {
  const std::string& name = settings.server_name.empty() ? host : settings.server_name;
  if (name.empty()) return true;
  // An address is verified against the certificate's IP addresses, and is never an SNI: RFC 6066.
  X509_VERIFY_PARAM* const verified = SSL_get0_param(ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(verified, name.c_str()) == 1) return true;
  ERR_clear_error();
  return SSL_set1_host(ssl, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
}

int client_endpoint_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// Set where TLS 1.2 alone was offered, for the sake of an old session.
int client_resumes_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

}  // namespace

int TlsClient::State::keep_session(SSL* ssl, SSL_SESSION* session) {
  auto* state = static_cast<State*>(SSL_get_ex_data(ssl, client_state_index()));
  const auto endpoint =
      reinterpret_cast<std::uintptr_t>(SSL_get_ex_data(ssl, client_endpoint_index()));
  const std::scoped_lock lock(state->mutex);
  std::deque<Session>& kept = state->sessions[endpoint];
  if (SSL_get_ex_data(ssl, client_resumes_index()) != nullptr) {
    // The old session was not taken: next time everything is offered.
    if (SSL_session_reused(ssl) == 0) kept.clear();
    return 0;
  }
  kept.emplace_back(session, &SSL_SESSION_free);
  if (kept.size() > most_sessions) kept.pop_front();
  return 1;
}

TlsClient::TlsClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsClient::~TlsClient() = default;

bool TlsClient::State::make(ContextPointer& made, std::vector<config::Problem>& problems) {
  made.reset(SSL_CTX_new_ex(nullptr, tls_properties(), TLS_client_method()));
  SSL_CTX* const fresh = made.get();
  set_common(fresh);
  SSL_CTX_set_cipher_list(fresh, client_ciphers);
  SSL_CTX_set_verify(fresh, settings.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (context.get() != fresh) {
    SSL_CTX_set1_cert_store(fresh, SSL_CTX_get_cert_store(context.get()));
  } else if (!trust(fresh, settings)) {
    problems.push_back(tls_problem(
        settings.ca_place,
        "cannot use `" + settings.ca + "` as certificate authorities: " + last_openssl_error()));
    return false;
  }
  if (settings.certificate) {
    const auto loaded = load_certificate(*settings.certificate, problems);
    if (!loaded || !use_certificate(fresh, *loaded, *settings.certificate, problems)) return false;
    if (context.get() == fresh) {
      warn_of_expiry(*loaded, *settings.certificate, std::chrono::system_clock::now(), problems);
    }
  }
  SSL_CTX_set_session_cache_mode(fresh, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  SSL_CTX_sess_set_new_cb(fresh, &State::keep_session);
  if (!protocols.empty()) {
    SSL_CTX_set_alpn_protos(fresh, protocols.data(), static_cast<unsigned>(protocols.size()));
  }
  return true;
}

// Has it a cipher of the short list?
bool TlsClient::State::resumes_lightly(const SSL_SESSION* session) const {
  const SSL_CIPHER* const cipher = SSL_SESSION_get0_cipher(session);
  return cipher != nullptr && sk_SSL_CIPHER_find(SSL_CTX_get_ciphers(resuming.get()),
                                                 const_cast<SSL_CIPHER*>(cipher)) >= 0;
}

std::unique_ptr<TlsClient> TlsClient::make(const config::UpstreamTls& settings,
                                           std::vector<config::Problem>& problems) {
  auto state = std::make_unique<State>(settings);
  state->protocols = alpn_wire(settings.alpn);
  if (!state->make(state->context, problems) || !state->make(state->resuming, problems)) {
    return nullptr;
  }
  SSL_CTX_set_max_proto_version(state->resuming.get(), TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(state->resuming.get(), intermediate_ciphers);
  return std::unique_ptr<TlsClient>(new TlsClient(std::move(state)));
}

void TlsClient::forget_sessions(std::size_t endpoint) const {
  const std::scoped_lock lock(state_->mutex);
  state_->sessions.erase(endpoint);
}

// The session that the next connection to an endpoint resumes; null when there is none.
TlsClient::State::Session TlsClient::State::next_session(std::size_t endpoint) {
  const std::scoped_lock lock(mutex);
  const auto found = sessions.find(endpoint);
  if (found == sessions.end() || found->second.empty()) return {nullptr, &SSL_SESSION_free};
  std::deque<Session>& kept = found->second;
  if (SSL_SESSION_get_protocol_version(kept.back().get()) >= TLS1_3_VERSION) {
    Session newest = std::move(kept.back());
    kept.pop_back();
    return newest;
  }
  // A TLS 1.2 server gives no new ticket when it resumes: the old one is used until its time is
  // over.
  if (!is_current(kept.back().get())) {
    kept.clear();
    return {nullptr, &SSL_SESSION_free};
  }
  SSL_SESSION_up_ref(kept.back().get());
  return {kept.back().get(), &SSL_SESSION_free};
}

ssl_st* TlsClient::connect(const std::string& host, std::size_t endpoint) const {
  const State::Session session = state_->next_session(endpoint);
  const bool is_tls12 = session && SSL_SESSION_get_protocol_version(session.get()) < TLS1_3_VERSION;
  const bool lightly = is_tls12 && state_->resumes_lightly(session.get());
  SSL* ssl = SSL_new((lightly ? state_->resuming : state_->context).get());
  if (ssl == nullptr) return nullptr;
  SSL_set_connect_state(ssl);
  SSL_set_ex_data(ssl, client_state_index(), state_.get());
  SSL_set_ex_data(ssl, client_endpoint_index(), reinterpret_cast<void*>(endpoint));
  if (!expect(ssl, state_->settings, host)) {
    SSL_free(ssl);
    return nullptr;
  }
  if (is_tls12) {
    SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
    SSL_set_ex_data(ssl, client_resumes_index(), session.get());
  }
  if (session) SSL_set_session(ssl, session.get());
  return ssl;
}

}  // namespace weir::proxy
