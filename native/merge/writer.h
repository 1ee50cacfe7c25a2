// Writing tar: GNU's form for long names, which holds any bytes, pax for extended attributes, ustar for everything else.
#pragma once
#include "merge/tar.h"

struct writer_output {
  bool (*write)(void *to, const void *at, size_t length);
  void *to;
};

struct writer;
struct writer *writer_open(struct writer_output output) MUST_USE;
void writer_close(struct writer **writer);

// Owners are always root. Content follows for a regular file. Each gives false when the output takes no more.
bool writer_header(struct writer *writer, const struct tar_entry *entry) MUST_USE;
bool writer_content(struct writer *writer, const unsigned char *at, uint64_t length) MUST_USE; // NULL: zeros
bool writer_content_end(struct writer *writer) MUST_USE;
bool writer_end(struct writer *writer) MUST_USE;
