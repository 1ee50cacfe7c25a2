// Streams that were written, for fuzzers: kept, and read back by the tar reader.
#pragma once
#include "fuzz/fuzzing.h"
#include "tests/making.h"

static inline bool fuzz_keep(void *to, const void *at, size_t length) {
  buffer_add(to, at, length);
  return true;
}

// Shows every entry, the first one as the number 1. The stream is whole, and links no file that was not there before.
static inline void fuzz_entries(const struct buffer *tar, void (*look)(const struct tar_entry *entry, uint64_t number)) {
  struct tar_whole whole = {tar, false};
  struct failure why = {0};
  CLEANUP(tar_close) struct tar_reader *reader = tar_open((struct tar_input){tar_whole_give, &whole});
  AUTO_WORDS files = {0};
  const struct tar_entry *entry;
  enum tar_step step;
  uint64_t number = 0;
  while ((step = tar_next(reader, &entry, &why)) == TAR_ENTRY) {
    if (entry->type == TAR_LINK) must(words_hold(&files, entry->link));
    if (entry->type == TAR_REGULAR) words_add(&files, entry->name, entry->name_length);
    look(entry, ++number);
  }
  if (step != TAR_END) fprintf(stderr, "%s\n", why.what);
  must(step == TAR_END);
}
