#include "proxy/launch.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

namespace weir::proxy {
namespace {

namespace fs = std::filesystem;

constexpr int first_descriptor = 3;
constexpr std::string_view process_variable = "LISTEN_PID=";
constexpr std::size_t most_digits = 10;

// The file that a name on the command line stands for, as execvp(3) finds it.
fs::path find_program(const std::string& name) {
  std::error_code ignored;
  if (name.find('/') != std::string::npos) return fs::absolute(name, ignored);
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path candidate = fs::absolute(folder.empty() ? "." : folder, ignored) / name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::string words(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

// Closes what it holds.
class Descriptors {
 public:
  Descriptors() = default;
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() {
    for (const int descriptor : all_) ::close(descriptor);
  }
  // A copy at `least` or above.
  bool copy(int descriptor, int least) {
    const int copied = ::fcntl(descriptor, F_DUPFD_CLOEXEC, least);
    if (copied >= 0) all_.push_back(copied);
    return copied >= 0;
  }
  const std::vector<int>& all() const { return all_; }

 private:
  std::vector<int> all_;
};

// All that the child needs, made before it is there.
struct Prepared {
  const char* path;
  std::vector<char*> arguments;
  std::vector<char*> environment;
  char* process;  // where LISTEN_PID's digits go
  const std::vector<int>& descriptors;
  sigset_t signals;
};

bool is_ours(std::string_view variable, const std::string& word_variable) {
  return variable.starts_with("LISTEN_PID") || variable.starts_with("LISTEN_FDS=") ||
         variable.starts_with("LISTEN_FDNAMES=") || variable.starts_with(word_variable + "=");
}

std::vector<std::string> environment_for(const std::vector<GivenDescriptor>& given,
                                         const std::string& word_variable) {
  std::vector<std::string> all;
  for (char** each = environ; *each != nullptr; ++each) {
    if (!is_ours(*each, word_variable)) all.emplace_back(*each);
  }
  std::string names;
  for (const GivenDescriptor& each : given) names += (names.empty() ? "" : ":") + each.name;
  all.push_back("LISTEN_FDNAMES=" + names);
  all.push_back("LISTEN_FDS=" + std::to_string(given.size()));
  all.push_back(word_variable + "=" +
                std::to_string(first_descriptor + static_cast<int>(given.size())));
  all.push_back(std::string(process_variable) + std::string(most_digits, '\0'));
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> all;
  for (std::string& each : strings) all.push_back(each.data());
  all.push_back(nullptr);
  return all;
}

// In the child of a process with threads: any of them may have held any lock, so that only what
// signal-safety(7) lists may be called.
[[noreturn]] void become(const Prepared& prepared) {
  std::array<char, most_digits> digits{};
  std::size_t count = 0;
  for (pid_t rest = ::getpid(); rest > 0; rest /= 10) {
    digits[count++] = static_cast<char>('0' + rest % 10);
  }
  for (std::size_t i = 0; i < count; ++i) prepared.process[i] = digits[count - 1 - i];

  // The copies are all above where they go, and what dup2() makes stays open over exec.
  int next = first_descriptor;
  for (const int descriptor : prepared.descriptors) ::dup2(descriptor, next++);
  ::close_range(static_cast<unsigned>(next), ~0U, 0);

  // A signal must not run a handler of this program's, whose pipe is its parent's.
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) {
    struct sigaction by_default{};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(number, &by_default, nullptr);
  }
  ::sigprocmask(SIG_SETMASK, &prepared.signals, nullptr);
  ::execve(prepared.path, prepared.arguments.data(), prepared.environment.data());
  ::_exit(127);
}

}  // namespace

Invocation Invocation::current() {
  Invocation invocation;
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  for (std::string each; std::getline(file, each, '\0');) invocation.arguments.push_back(each);
  if (invocation.arguments.empty()) invocation.arguments.emplace_back("weir");
  const fs::path found = find_program(invocation.arguments.front());
  std::error_code error;
  // argv[0] is a custom: whoever started us may have said something else.
  const bool is_it = fs::equivalent(found, "/proc/self/exe", error);
  invocation.path = is_it ? found : fs::read_symlink("/proc/self/exe", error);
  return invocation;
}

std::expected<pid_t, std::string> launch(const Invocation& invocation,
                                         const std::vector<GivenDescriptor>& given, int word,
                                         const std::string& word_variable) {
  if (::access(invocation.path.c_str(), X_OK) != 0) return std::unexpected(words(invocation.path));
  const int least = first_descriptor + static_cast<int>(given.size()) + 1;
  Descriptors copies;
  bool good = true;
  for (const GivenDescriptor& each : given) good = good && copies.copy(each.descriptor, least);
  good = good && copies.copy(word, least);
  if (!good) return std::unexpected(words("descriptors for it"));

  std::vector<std::string> arguments = invocation.arguments;
  std::vector<std::string> environment = environment_for(given, word_variable);
  Prepared prepared{invocation.path.c_str(),
                    pointers(arguments),
                    pointers(environment),
                    environment.back().data() + process_variable.size(),
                    copies.all(),
                    {}};
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &prepared.signals);
  const pid_t process = ::fork();
  if (process == 0) become(prepared);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &prepared.signals, nullptr);
  errno = error;
  if (process < 0) return std::unexpected(words("fork"));
  return process;
}

}  // namespace weir::proxy
