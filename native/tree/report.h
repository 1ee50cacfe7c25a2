// What a conversion tells on standard output: lines of words, names made visible.
//   note KIND NAME[ -> TARGET]   what became of a name; of each kind the first thousand
//   count KIND NUMBER            how many names there were of a kind; behind all notes
//   fact KEY VALUE
//   progress BYTES
//   done BYTES ENTRIES SHA256    the last line, of what was written
//   fault CODE WHAT              the last line when it fails
#pragma once
#include "policy/failure.h"
#include "tree/rules.h"

struct report {
  uint64_t counts[NOTE_COUNT];
  struct buffer lines;
  int fd;
};
void report_note(struct report *report, enum tree_note note, const char *name, const char *target);
void report_fact(struct report *report, const char *key, const char *format, ...) PRINTF_LIKE(3, 4);
void report_progress(struct report *report, uint64_t bytes);
void report_counts(struct report *report);
void report_done(struct report *report, uint64_t bytes, uint64_t entries, const unsigned char digest[static 32]);
void report_fault(struct report *report, const struct failure *why);
void report_free(struct report *report);
