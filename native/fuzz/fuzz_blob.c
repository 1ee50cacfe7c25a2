// Bytes as a blob: whatever they are, inflating them ends, in a digest or a reason, within the limits.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "merge/blob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const struct blob_limits limits = {.inflated = 1 << 20, .ratio = 2};
  static int fd = -1;
  if (fd < 0) {
    fd = memfd_create("blob", MFD_CLOEXEC);
    blob_prepare();
  }
  size_t offset = size > 0 ? data[0] & 7U : 0;
  if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, (off_t)offset) != (ssize_t)size) abort();
  struct blob *blob = blob_open(fd, offset, size, &limits);
  struct failure why = {0};
  char digest[SHA256_HEX];
  bool whole = blob_digest(blob, digest, &why);
  if (whole ? blob_inflated(blob) > limits.inflated || strlen(digest) != 64 : why.what[0] == '\0') abort();
  blob_close(&blob);
  return 0;
}
