// Command lines. The options come from formats/options.json; parsing stops at the first word that is none.
#pragma once
#include "options.gen.h"
#include "policy/failure.h"

enum option_value { VALUE_NONE, VALUE_NEEDED, VALUE_OPTIONAL };

struct option {
  int id;           // of the program's enum
  char letter;      // or 0
  const char *name; // or NULL
  enum option_value value;
  const char *refused; // why nobody may use it, or NULL
};

struct option_table {
  const char *program;
  const struct option *options;
  size_t count;
  const char *help;
};
extern const struct option_table shifter_options, setup_root_options, unsetup_root_options, shifter_check_options;

// What a command line asks a program for.
enum mode { MODE_RUN, MODE_RESOLVE, MODE_LIST, MODE_HELP, MODE_VERSION };

struct option_reader {
  const struct option_table *table;
  int argc;
  char *const *argv;
  int index;                 // of the next word; at the end, of the first operand
  const char *letters;       // what is left of a word of letters
  const struct option *bare; // the last option, where its optional value was left out
};
enum option_step { OPTION_FOUND, OPTION_END, OPTION_WRONG };

// `first`: index of the first word to read.
struct option_reader option_reader(const struct option_table *table, int argc, char *const *argv, int first);
// The next option; `*value` is NULL where there is none.
enum option_step options_next(struct option_reader *reader, const struct option **option, const char **value, struct failure *why) MUST_USE;
// Values that several programs take.
bool option_report(const char *value, int *report, struct failure *why) MUST_USE;
bool option_id(const char *name, const char *value, uint32_t *id, struct failure *why) MUST_USE;
bool option_text(const char *name, const char *value, const char **text, struct failure *why) MUST_USE;
// Another element of a list that is joined by ';'.
void option_join(char **list, const char *value);
