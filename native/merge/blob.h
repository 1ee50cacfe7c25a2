// A layer's blob as the archive it holds: a range of a file, inflated by what it is (gzip, zstd or plain), hashed while it passes.
#pragma once
#include "merge/tar.h"
#include "policy/sha256.h"

struct blob_limits {
  uint64_t inflated; // bytes that all layers together may inflate to
  uint64_t ratio;    // times its own bytes that a layer may inflate to; small layers are let pass
};

struct blob;
// The descriptor stays the caller's, and its position is not used. The range must lie inside the file.
struct blob *blob_open(int fd, uint64_t offset, uint64_t length, const struct blob_limits *limits) MUST_USE;
void blob_close(struct blob **blob);
struct tar_input blob_input(struct blob *blob);
// Reads to the end and gives the digest of everything inflated: an archive may end before its stream does.
bool blob_digest(struct blob *blob, char hex[static SHA256_HEX], struct failure *why) MUST_USE;
uint64_t blob_inflated(const struct blob *blob);
// What a ratio lets a layer of so many bytes become.
uint64_t blob_most(uint64_t length, uint64_t ratio);
// To be called once, before a sandbox: what the hash function reads when it is first used.
void blob_prepare(void);
