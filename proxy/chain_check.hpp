#pragma once
// Looks at the certificate chains that Weir itself shows: until when they are good, and whether who
// is shown one can follow it to an authority. The latter is a guess by the authorities of this
// system: a private authority's clients know others.

#include <memory>
#include <optional>
#include <string>

#include "config/config.hpp"
#include "proxy/certificate_facts.hpp"

struct x509_store_st;

namespace weir::proxy {

class ChainCheck {
 public:
  ChainCheck();  // reads the system's authorities
  ~ChainCheck();

  struct Look {
    CertificateFacts facts;  // of the leaf
    std::string note;        // what peers have to know by themselves; empty = nothing
  };
  // None: the files cannot be used, which whoever loads them tells.
  std::optional<Look> look_at(const config::Certificate& files) const;

 private:
  std::unique_ptr<x509_store_st, void (*)(x509_store_st*)> authorities_;
};

}  // namespace weir::proxy
