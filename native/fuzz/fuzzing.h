// What the fuzzers of the policy functions share. A property that does not hold ends the run.
#pragma once
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/failure.h"

#define must(condition)                                                        \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);  \
      abort();                                                                 \
    }                                                                          \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The input's bytes in a block of their own, so that the sanitizer sees a read past the end; a NUL is behind them only where asked.
static inline char *fuzz_copy(const uint8_t *data, size_t size, bool ended) {
  char *copy = malloc(size + (ended ? 1 : size == 0));
  must(copy != NULL);
  if (size > 0) memcpy(copy, data, size);
  if (ended) copy[size] = '\0';
  return copy;
}

// Every refusal is one line that can be printed.
static inline void fuzz_refused(const struct failure *why) {
  AUTO_BUFFER line = {0};
  must((int)why->code >= 0 && why->code < ERROR_COUNT && memchr(why->what, '\0', sizeof why->what) != NULL && why->what[0] != '\0');
  failure_line(why, "fuzz", &line);
  must(line.at[line.length - 1] == '\n' && !has_control(line.at, line.length - 1));
}

static inline bool fuzz_same(const char *one, const char *other) {
  return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

static inline bool fuzz_same_words(const struct words *one, const struct words *other) {
  bool same = one->count == other->count;
  for (size_t i = 0; same && i < one->count; i++) same = strcmp(one->items[i], other->items[i]) == 0;
  return same;
}

// The rule for paths that are taken, written a second time: absolute, no "..", "." or empty component, no control character.
static inline bool fuzz_is_clean(const char *path) {
  if (path[0] != '/') return false;
  if (path[1] == '\0') return true;
  AUTO_FREE char *copy = memory_copy(path, strlen(path));
  for (char *part = copy + 1, *end; part != NULL; part = end) {
    end = strchr(part, '/');
    if (end != NULL) *end++ = '\0';
    if (*part == '\0' || strcmp(part, ".") == 0 || strcmp(part, "..") == 0) return false;
  }
  for (const char *at = path; *at != '\0'; at++)
    if (iscntrl((unsigned char)*at) && (unsigned char)*at < 0x80) return false;
  return true;
}
