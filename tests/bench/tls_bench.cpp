// What a record of TLS 1.3 costs, and a step of the key schedule.

#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "proxy/tls_key_schedule.hpp"
#include "proxy/tls_records.hpp"

namespace weir::proxy {
namespace {

TlsSecret secret(unsigned char fill) {
  std::array<unsigned char, 32> bytes;
  bytes.fill(fill);
  return TlsSecret(bytes);
}

// Sealed, and opened by the other side, so that their sequences agree.
void seal_and_open(benchmark::State& state) {
  constexpr auto suite = TlsSuite::aes_128_gcm_sha256;
  TlsRecords ours(suite, secret(1), secret(2), 0);
  TlsRecords theirs(suite, secret(2), secret(1), 0);
  const std::vector<std::byte> plain(static_cast<std::size_t>(state.range(0)));
  std::vector<std::byte> record(plain.size() + TlsRecords::overhead);
  std::vector<std::byte> opened(TlsRecords::largest_record);
  for (auto _ : state) {
    ours.seal(TlsRecords::Content::application_data, plain, record.data());
    std::span<const std::byte> input = record;
    std::size_t size = 0;
    benchmark::DoNotOptimize(theirs.open(input, opened, size));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(seal_and_open)->Arg(100)->Arg(16 * 1024);

void expand_a_label(benchmark::State& state) {
  std::array<unsigned char, 32> out;
  const std::array<unsigned char, 32> key{};
  const std::array<unsigned char, 32> context{};
  for (auto _ : state) {
    expand_label(TlsHash::sha256, key, "c hs traffic", context, out);
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(expand_a_label);

}  // namespace
}  // namespace weir::proxy
