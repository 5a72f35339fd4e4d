#pragma once
// Starts a program as this one was started, with descriptors of this process's choice and no
// other. Knows nothing of what they are for.

#include <sys/types.h>

#include <expected>
#include <string>
#include <vector>

namespace weir::proxy {

// How a program is started.
struct Invocation {
  std::string path;
  std::vector<std::string> arguments;  // the first is its name

  // As this process was. To be asked early: the path is that of argv[0], so that a program that is
  // replaced by a new file later is the new one then, which /proc/self/exe never is.
  static Invocation current();
};

struct GivenDescriptor {
  int descriptor;
  std::string name;
};

// `given` are the program's descriptors from 3 on, and named in its environment as sd_listen_fds(3)
// says; `word` is the one after them, and named by `word_variable`. It has this process's
// environment, standard input and outputs, and directory. Returns its process; the error is words.
// A program that cannot be executed ends with exit status 127.
std::expected<pid_t, std::string> launch(const Invocation& invocation,
                                         const std::vector<GivenDescriptor>& given, int word,
                                         const std::string& word_variable);

}  // namespace weir::proxy
