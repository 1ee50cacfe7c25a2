#include "disk/input.h"

#include <unistd.h>

bool read_file(void *from, uint64_t offset, void *into, size_t length) {
  const int *fd = from;
  for (char *at = into; length > 0;) {
    ssize_t n = pread(*fd, at, length, (off_t)offset);
    if (n <= 0) return false;
    at += n;
    offset += (size_t)n;
    length -= (size_t)n;
  }
  return true;
}
