// SHA-256 (FIPS 180-4), for the names of canonical references.
#pragma once
#include "policy/base.h"

#define SHA256_HEX 65
void sha256_hex(const void *bytes, size_t length, char hex[static SHA256_HEX]);
