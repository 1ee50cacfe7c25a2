// The lines that shifter-disk tells, as the reader writes them and the launcher lets them pass.
#pragma once
#include "policy/failure.h"

#define TELL_MOST 4096                   // bytes of a line
#define TELL_EVERY ((uint64_t)64 << 20) // bytes from one `progress` to the next, at least

// A word of a line: visible, without blanks; - for none.
void tell_word(struct buffer *line, const char *text);
// The rest of a line: visible, with its blanks.
void tell_rest(struct buffer *line, const char *text);

// One line of the reader, without its end, as the launcher understands it.
enum told { TOLD_WRONG, TOLD_INFORMATION, TOLD_PROGRESS, TOLD_DONE, TOLD_FAULT };
struct told_line {
  enum told kind;
  uint64_t bytes, entries; // of progress and done
  struct failure fault;
};
enum told told_read(const char *line, size_t length, struct told_line *told);
