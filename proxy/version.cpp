#include "proxy/version.hpp"

#include <openssl/crypto.h>

#include <boost/version.hpp>

namespace weir::proxy {

std::string version() {
  return WEIR_VERSION;
}

std::string revision() {
  return WEIR_REVISION;
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

std::string openssl() {
  return OpenSSL_version(OPENSSL_VERSION);
}

std::string boost() {
  return "Boost " + std::to_string(BOOST_VERSION / 100000) + "." +
         std::to_string(BOOST_VERSION / 100 % 1000) + "." + std::to_string(BOOST_VERSION % 100);
}

}  // namespace weir::proxy
