// The admin's answers, without sockets; the last tests speak to a real one.

#include "proxy/admin.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json/parse.hpp>

namespace weir::proxy {
namespace {

namespace http = boost::beast::http;

class Source final : public AdminSource {
 public:
  std::string metrics() override { return "weir_workers 1\n"; }
  bool ready() override { return is_ready; }
  boost::json::value status() override { return boost::json::object{{"phase", "serving"}}; }
  std::string configuration() override { return yaml; }
  std::vector<ConnectionFacts> connections() override { return open; }
  bool kill(std::uint64_t id) override {
    killed = id;
    return id == 7;
  }

  bool is_ready = true;
  std::string yaml = "version: 1\n";
  std::uint64_t killed = 0;
  std::vector<ConnectionFacts> open;
};

class AdminTest : public testing::Test {
 protected:
  HttpResponse ask(http::verb method, const char* target,
                   std::vector<std::pair<http::field, const char*>> fields = {}) {
    HttpRequest request{method, target, 11};
    for (const auto& [field, value] : fields) request.set(field, value);
    return answer_admin(source_, request);
  }
  HttpResponse get(const char* target) { return ask(http::verb::get, target); }

  void add(std::uint64_t id, std::uint64_t bytes, std::chrono::seconds age,
           std::string_view listener = "web") {
    ConnectionFacts& facts = source_.open.emplace_back();
    facts.id = id;
    facts.client_received = bytes;
    facts.age = age;
    facts.listener = listener;
  }

  static std::vector<std::int64_t> ids(const HttpResponse& response) {
    std::vector<std::int64_t> result;
    const boost::json::value body = boost::json::parse(response.body());
    for (const auto& each : body.at("connections").as_array()) {
      result.push_back(each.at("id").as_int64());
    }
    return result;
  }

  Source source_;
};

TEST_F(AdminTest, SaysWhetherItIsReady) {
  EXPECT_EQ(get("/readyz").result(), http::status::ok);
  source_.is_ready = false;
  EXPECT_EQ(get("/readyz").result(), http::status::service_unavailable);
  EXPECT_EQ(get("/healthz").result(), http::status::ok);
}

TEST_F(AdminTest, ServesMetricsAsTextFormat) {
  const HttpResponse response = get("/metrics");
  EXPECT_EQ(response[http::field::content_type], "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(response.body(), "weir_workers 1\n");
}

TEST_F(AdminTest, ServesTheConfigurationInForce) {
  EXPECT_EQ(get("/config").body(), "version: 1\n");
  EXPECT_EQ(get("/config")[http::field::content_type], "application/yaml");
  EXPECT_EQ(ask(http::verb::put, "/config").result(), http::status::method_not_allowed);
  source_.yaml.clear();
  EXPECT_EQ(get("/config").result(), http::status::not_found);
}

TEST_F(AdminTest, KnowsItsPathsAndMethods) {
  EXPECT_EQ(get("/nothing").result(), http::status::not_found);
  const HttpResponse response = ask(http::verb::post, "/metrics");
  EXPECT_EQ(response.result(), http::status::method_not_allowed);
  EXPECT_EQ(response[http::field::allow], "GET, HEAD");
}

TEST_F(AdminTest, SortsFiltersAndLimitsConnections) {
  add(1, 10, std::chrono::seconds(1));
  add(2, 30, std::chrono::seconds(30), "other");
  add(3, 20, std::chrono::seconds(2));
  EXPECT_THAT(ids(get("/connections")), testing::ElementsAre(2, 3, 1));
  EXPECT_THAT(ids(get("/connections?sort=bytes")), testing::ElementsAre(2, 3, 1));
  EXPECT_THAT(ids(get("/connections?sort=rate")), testing::ElementsAre(1, 3, 2));
  EXPECT_THAT(ids(get("/connections?listener=web&limit=1")), testing::ElementsAre(3));
  EXPECT_EQ(boost::json::parse(get("/connections?limit=1").body()).at("total").as_int64(), 3);
}

TEST_F(AdminTest, NamesAWrongParameter) {
  for (const char* target :
       {"/connections?sort=size", "/connections?limit=x", "/connections?x=1"}) {
    EXPECT_EQ(get(target).result(), http::status::bad_request) << target;
  }
  EXPECT_THAT(get("/connections?limit=-1").body(), testing::HasSubstr("limit"));
  EXPECT_THAT(get("/connections?colour=1").body(), testing::HasSubstr("`colour`"));
}

TEST_F(AdminTest, EndsAConnection) {
  EXPECT_EQ(ask(http::verb::delete_, "/connections/7").result(), http::status::ok);
  EXPECT_EQ(source_.killed, 7U);
  EXPECT_EQ(ask(http::verb::delete_, "/connections/8").result(), http::status::not_found);
  EXPECT_EQ(ask(http::verb::delete_, "/connections/7x").result(), http::status::not_found);
}

TEST_F(AdminTest, RefusesToEndAConnectionForAnotherSite) {
  const auto response =
      ask(http::verb::delete_, "/connections/7", {{http::field::origin, "https://evil.example"}});
  EXPECT_EQ(response.result(), http::status::forbidden);
  EXPECT_EQ(source_.killed, 0U);
}

TEST_F(AdminTest, WritesValidJsonWhateverAPeerSent) {
  add(1, 0, std::chrono::seconds(1));
  source_.open.back().server_name = "\xff\"\n\\x";
  EXPECT_NO_THROW(boost::json::parse(get("/connections").body()));
}

// A client on a real socket.
class Caller {
 public:
  explicit Caller(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  ~Caller() { ::close(socket_); }

  void send(const std::string& text) { ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL); }
  std::string receive_all() {
    std::string all;
    char buffer[4096];
    for (ssize_t count; (count = ::recv(socket_, buffer, sizeof buffer, 0)) > 0;) {
      all.append(buffer, static_cast<std::size_t>(count));
    }
    return all;
  }

 private:
  int socket_;
};

class LiveAdminTest : public AdminTest {
 protected:
  LiveAdminTest() : admin_({config::Address::Kind::ipv4, "127.0.0.1", 0}, source_) {
    admin_.start();
  }
  ~LiveAdminTest() override { admin_.stop(); }
  std::uint16_t port() const { return admin_.local_address().port; }
  Admin admin_;
};

TEST_F(LiveAdminTest, AnswersOverHttp) {
  Caller caller(port());
  caller.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answer = caller.receive_all();
  EXPECT_THAT(answer, testing::StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\nok\n"));
}

TEST_F(LiveAdminTest, AnswersHeadWithoutABody) {
  Caller caller(port());
  caller.send("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answer = caller.receive_all();
  EXPECT_THAT(answer, testing::HasSubstr("Content-Length: 15\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\n"));
}

TEST_F(LiveAdminTest, RefusesAHeaderWithoutEnd) {
  Caller caller(port());
  caller.send("GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x'));
  EXPECT_THAT(caller.receive_all(), testing::HasSubstr("431"));
}

TEST_F(LiveAdminTest, RefusesWhatIsNotHttp) {
  Caller caller(port());
  caller.send("\x16\x03\x01 hello\r\n\r\n");
  EXPECT_THAT(caller.receive_all(), testing::HasSubstr("400"));
}

TEST_F(LiveAdminTest, IsNotHeldUpByASilentClient) {
  Caller silent(port());
  silent.send("GET /he");
  Caller caller(port());
  caller.send("GET /healthz HTTP/1.0\r\n\r\n");
  EXPECT_THAT(caller.receive_all(), testing::HasSubstr("200"));
}

}  // namespace
}  // namespace weir::proxy
