#include "policy/options.h"

#include <string.h>

struct line {
  const struct option_table *table;
  int argc, index; // of the next word
  char *const *argv;
  void *out;
  const struct option *bare; // the last option, where its optional value was left out
};

static bool has_more(const struct line *line) {
  return line->index < line->argc && line->argv[line->index] != NULL;
}

// `shown` is how the user wrote the option.
static bool take(struct line *line, const struct option *option, const char *shown, const char *value, struct failure *why) {
  if (option->refused != NULL) return fail(why, ERROR_OPTION_UNAVAILABLE, "%s is not offered: %s", shown, option->refused);
  if (value == NULL && option->value == VALUE_NEEDED) {
    if (!has_more(line)) return fail(why, ERROR_USAGE, "%s needs a value", shown);
    value = line->argv[line->index++];
  }
  line->bare = option->value == VALUE_OPTIONAL && value == NULL ? option : NULL;
  enum mode *mode = line->out;
  void *field = (char *)line->out + option->field, *there = (char *)line->out + option->seen;
  bool *seen = there;
  if (option->mode != MODE_RUN) *mode = option->mode;
  if (option->seen != 0) *seen = true;
  return option->take == NULL || option->take(option->name, value, field, why);
}

static bool take_long(struct line *line, const char *word, struct failure *why) {
  size_t length = strcspn(word, "=");
  AUTO_FREE char *shown = memory_copy(word, length);
  const char *value = word[length] == '=' ? word + length + 1 : NULL;
  for (size_t i = 0; i < line->table->count; i++) {
    const struct option *option = &line->table->options[i];
    if (option->name == NULL || strcmp(option->name, shown + 2) != 0) continue;
    if (value != NULL && option->value == VALUE_NONE) return fail(why, ERROR_USAGE, "%s takes no value", shown);
    return take(line, option, shown, value, why);
  }
  return fail(why, ERROR_USAGE, "there is no option %s", shown);
}

static const struct option *find_letter(const struct option_table *table, char letter) {
  for (size_t i = 0; i < table->count; i++)
    if (table->options[i].letter == letter) return &table->options[i];
  return NULL;
}

static bool take_letters(struct line *line, const char *letters, struct failure *why) {
  for (const char *at = letters; *at != '\0'; at++) {
    const struct option *option = find_letter(line->table, *at);
    if (option == NULL) return fail(why, ERROR_USAGE, "there is no option -%c", is_control(*at) ? '?' : *at);
    const char *value = option->value != VALUE_NONE && at[1] != '\0' ? at + 1 : NULL;
    if (!take(line, option, (const char[]){'-', *at, '\0'}, value, why)) return false;
    if (option->value == VALUE_NEEDED || value != NULL) break;
  }
  return true;
}

bool options_parse(const struct option_table *table, int argc, char *const *argv, void *out, int *index, struct failure *why) {
  struct line line = {.table = table, .argc = argc, .index = *index, .argv = argv, .out = out};
  bool dashes = false;
  while (!dashes && has_more(&line) && argv[line.index][0] == '-' && argv[line.index][1] != '\0') {
    const char *word = argv[line.index++];
    dashes = strcmp(word, "--") == 0;
    if (!dashes && !(word[1] == '-' ? take_long(&line, word, why) : take_letters(&line, word + 1, why))) return false;
  }
  *index = line.index;
  // "-w /etc -- ls" means /etc for the option, which takes a value only when it is attached; without this /etc would be run.
  bool apart = line.bare != NULL && !dashes && line.index + 1 < argc && strcmp(argv[line.index + 1], "--") == 0;
  if (!apart) return true;
  return fail(why, ERROR_USAGE, "--%s takes a value only with '=': write --%s=%s", line.bare->name, line.bare->name, argv[line.index]);
}

bool take_flag(const char *name, const char *value, void *field, struct failure *why) {
  (void)name, (void)value, (void)why;
  bool *flag = field;
  return *flag = true;
}

bool take_text(const char *name, const char *value, void *field, struct failure *why) {
  (void)name, (void)why;
  const char **text = field;
  *text = value;
  return true;
}

bool take_name(const char *name, const char *value, void *field, struct failure *why) {
  if (value != NULL && *value == '\0') return fail(why, ERROR_USAGE, "--%s= is empty", name);
  return take_text(name, value, field, why);
}

bool take_words(const char *name, const char *value, void *field, struct failure *why) {
  (void)name, (void)why;
  words_add_text(field, value);
  return true;
}

bool take_list(const char *name, const char *value, void *field, struct failure *why) {
  (void)name, (void)why;
  char **list = field;
  AUTO_BUFFER joined = {0};
  if (*list != NULL) buffer_print(&joined, "%s;", *list);
  buffer_text(&joined, value);
  cleanup_free(list);
  *list = steal(&joined.at);
  return true;
}

bool take_report(const char *name, const char *value, void *field, struct failure *why) {
  uint64_t number;
  int *fd = field;
  if (!number_parse(value, strlen(value), INT32_MAX, false, &number) || number <= 2)
    return fail(why, ERROR_USAGE, "--%s '%s' is no number of a descriptor above 2", name, value);
  *fd = (int)number;
  return true;
}
