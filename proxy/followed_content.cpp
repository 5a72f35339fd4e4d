#include "proxy/followed_content.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "config/document.hpp"
#include "config/glob.hpp"

namespace weir::proxy {
namespace {

void add_files(const config::Certificate& certificate, std::set<std::string>& files) {
  // The demo's has text where others have files.
  if (!certificate.cert_pem) files.insert(certificate.cert);
  if (!certificate.key_pem) files.insert(certificate.key);
}

}  // namespace

std::vector<FollowedContent> contents_of(const config::LoadResult& loaded) {
  std::vector<FollowedContent> contents;
  for (const config::FileRead& file : loaded.files) {
    // Of what is too long to be a configuration only the beginning was read.
    const bool is_whole = file.text && file.text->size() <= config::largest_file;
    contents.push_back({file.path, is_whole    ? digest_of(*file.text)
                                   : file.text ? digest_of_file(file.path).value_or("")
                                               : std::string()});
  }
  for (const config::PatternRead& read : loaded.patterns) {
    const bool is_relative = !read.pattern.starts_with('/');
    const std::string directory = is_relative ? read.directory : std::string();
    contents.push_back(
        {directory + read.pattern, digest_of_matches(read.found), std::nullopt, directory, true});
  }
  return contents;
}

std::vector<FollowedContent> contents_now(const std::vector<std::string>& paths) {
  std::vector<FollowedContent> contents;
  for (const std::string& path : paths) {
    const FileStamp stamp = stamp_of(path);
    contents.push_back({path, digest_of_file(path).value_or(std::string()), stamp});
  }
  return contents;
}

std::optional<std::string> digest_now(const FollowedContent& content) {
  if (!content.is_pattern) return digest_of_file(content.path);
  const std::string pattern = content.path.substr(content.directory.size());
  return digest_of_matches(config::find_matches(content.directory, pattern));
}

std::vector<std::string> tls_files(const config::Config& config) {
  std::set<std::string> files;
  for (const auto& [name, settings] : config.tls) {
    for (const config::Certificate& certificate : settings.certificates) {
      add_files(certificate, files);
    }
    const config::ClientCertificate& client = settings.client_certificate;
    for (const std::string& each : {client.ca, client.crl, settings.session_tickets.key_file}) {
      if (!each.empty()) files.insert(each);
    }
  }
  for (const config::Upstream& upstream : config.upstreams) {
    if (!upstream.tls) continue;
    if (upstream.tls->certificate) add_files(*upstream.tls->certificate, files);
    if (upstream.tls->ca != "system") files.insert(upstream.tls->ca);
  }
  return {files.begin(), files.end()};
}

}  // namespace weir::proxy
