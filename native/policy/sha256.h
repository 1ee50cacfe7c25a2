// SHA-256 (FIPS 180-4): names of canonical references, keys of prepared roots, whole images.
#pragma once
#include "policy/base.h"

#define SHA256_HEX 65
struct sha256 {
  uint32_t state[8];
  unsigned char block[64]; // the first length % 64 bytes wait
  uint64_t length;
};
void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *bytes, size_t length);
void sha256_end(struct sha256 *hash, char hex[static SHA256_HEX]);
void sha256_hex(const void *bytes, size_t length, char hex[static SHA256_HEX]);
