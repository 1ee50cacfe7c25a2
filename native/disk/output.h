// The archive: a device of the guest's or a file, with room for as many bytes as it may have.
#pragma once
#include "policy/failure.h"

struct output {
  int fd;
  unsigned char *buffer; // what waits to be written
  size_t used;
  uint64_t written, told, most; // `written` counts what waits
  bool failed, too_long;
  int error;
};

void output_open(struct output *output, int fd, uint64_t most);
bool output_write(void *output, const void *at, size_t length) MUST_USE;
bool output_end(struct output *output) MUST_USE;
bool output_fault(const struct output *output, struct failure *why);
