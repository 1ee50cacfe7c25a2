// Listening to the reader: its lines are judged and passed on, its log, or its kernel's, is kept for the message when it dies.
#pragma once
#include <sys/types.h>

#include "disk/tell.h"

struct relay {
  struct buffer line; // what came of the next one
  struct buffer log;  // the last of the kernel's
  uint64_t most;      // bytes that the archive may have
  uint64_t progress;  // bytes that were told of
  unsigned lines;     // of information so far
  bool ended;         // `done` or `fault` was told: nothing follows
  struct told_line last;
};

// What came from the reader; false when it is none of what a reader tells.
bool relay_voice(struct relay *relay, const char *at, size_t length, struct buffer *out, struct failure *why) MUST_USE;
void relay_log(struct relay *relay, const char *at, size_t length);
// Why the reader ended without a last word.
bool relay_died(const struct relay *relay, struct failure *why);
void relay_free(struct relay *relay);
