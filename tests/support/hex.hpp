#pragma once
// Bytes as RFCs print them.

#include <string_view>
#include <vector>

namespace weir::proxy {

// Spaces are for the reader.
inline std::vector<unsigned char> from_hex(std::string_view digits) {
  std::vector<unsigned char> bytes;
  int high = -1;
  for (const char c : digits) {
    if (c == ' ') continue;
    const int value = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = value;
    } else {
      bytes.push_back(static_cast<unsigned char>(high << 4 | value));
      high = -1;
    }
  }
  return bytes;
}

}  // namespace weir::proxy
