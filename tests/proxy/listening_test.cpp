// The addresses that are listened on, and the files of unix sockets.

#include "proxy/listening.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace weir::proxy {
namespace {

TEST(SocketFile, LeavesWhateverIsThereOnceItIsRemoved) {
  const std::string path = testing::TempDir() + "listening_test.sock";
  std::ofstream(path) << "one";
  {
    SocketFile file(path);
    file.remove();
    EXPECT_FALSE(std::filesystem::exists(path));
    std::ofstream(path) << "another";
  }
  EXPECT_TRUE(std::filesystem::exists(path));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace weir::proxy
