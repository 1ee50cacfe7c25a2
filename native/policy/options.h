// Command lines. The options come from formats/options.json, with what becomes of each; parsing stops at the first word that is none.
#pragma once
#include "policy/failure.h"

// What a command line asks a program for: the first member of each program's arguments.
enum mode { MODE_RUN, MODE_RESOLVE, MODE_LIST, MODE_HELP, MODE_VERSION };

// Puts the value of option --NAME into its field; NULL where the option has none.
typedef bool option_taker(const char *name, const char *value, void *field, struct failure *why);

struct option {
  char letter;      // or 0
  const char *name; // or NULL
  enum { VALUE_NONE, VALUE_NEEDED, VALUE_OPTIONAL } value;
  enum mode mode;     // what it asks for, or MODE_RUN
  option_taker *take; // or NULL
  size_t field, seen; // offsets: of what is taken, and of a bool that the option was there (0: of none)
  const char *refused; // why nobody may use it, or NULL
};

struct option_table {
  const char *program;
  const struct option *options;
  size_t count;
  const char *help;
};
extern const struct option_table shifter_options, setup_root_options, unsetup_root_options, shifter_check_options;

// From the word at *index on; then *index is that of the first operand. What stands before a mistake has been taken.
bool options_parse(const struct option_table *table, int argc, char *const *argv, void *out, int *index, struct failure *why) MUST_USE;

option_taker take_flag;   // bool: true
option_taker take_text;   // const char *
option_taker take_name;   // const char *, not empty; NULL where an optional value is left out
option_taker take_words;  // struct words: one more
option_taker take_list;   // char *: joined by ';'
option_taker take_report; // int: a descriptor above 2
