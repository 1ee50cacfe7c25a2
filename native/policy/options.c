#include "policy/options.h"

#include <string.h>

struct option_reader option_reader(const struct option_table *table, int argc, char *const *argv, int first) {
  return (struct option_reader){.table = table, .argc = argc, .argv = argv, .index = first};
}

static const struct option *find_long(const struct option_table *table, const char *at, size_t length) {
  for (size_t i = 0; i < table->count; i++)
    if (table->options[i].name != NULL && text_is(at, length, table->options[i].name)) return &table->options[i];
  return NULL;
}

static const struct option *find_short(const struct option_table *table, char letter) {
  for (size_t i = 0; i < table->count; i++)
    if (table->options[i].letter == letter) return &table->options[i];
  return NULL;
}

static bool has_more(const struct option_reader *reader) {
  return reader->index < reader->argc && reader->argv[reader->index] != NULL;
}

// `shown` is how the user wrote the option.
static enum option_step take(struct option_reader *reader, const struct option *option, const char *shown, const char **value, struct failure *why) {
  if (option->refused != NULL) {
    fail(why, ERROR_OPTION_UNAVAILABLE, "%s is not offered: %s", shown, option->refused);
    return OPTION_WRONG;
  }
  if (*value == NULL && option->value == VALUE_NEEDED) {
    if (!has_more(reader)) {
      fail(why, ERROR_USAGE, "%s needs a value", shown);
      return OPTION_WRONG;
    }
    *value = reader->argv[reader->index++];
  }
  reader->bare = option->value == VALUE_OPTIONAL && *value == NULL ? option : NULL;
  return OPTION_FOUND;
}

static enum option_step next_long(struct option_reader *reader, const struct option **option, const char **value, struct failure *why) {
  const char *word = reader->argv[reader->index++];
  size_t length = 2 + strcspn(word + 2, "=");
  AUTO_FREE char *shown = memory_copy(word, length);
  *option = find_long(reader->table, word + 2, length - 2);
  *value = word[length] == '=' ? word + length + 1 : NULL;
  if (*option == NULL)
    fail(why, ERROR_USAGE, "there is no option %s", shown);
  else if (*value != NULL && (*option)->value == VALUE_NONE)
    fail(why, ERROR_USAGE, "%s takes no value", shown);
  else
    return take(reader, *option, shown, value, why);
  return OPTION_WRONG;
}

static enum option_step next_short(struct option_reader *reader, const struct option **option, const char **value, struct failure *why) {
  char letter = *reader->letters++;
  *option = find_short(reader->table, letter);
  if (*option == NULL) {
    fail(why, ERROR_USAGE, "there is no option -%c", is_control(letter) ? '?' : letter);
    return OPTION_WRONG;
  }
  *value = (*option)->value != VALUE_NONE && *reader->letters != '\0' ? reader->letters : NULL;
  if (*value != NULL || *reader->letters == '\0') reader->letters = NULL;
  return take(reader, *option, (const char[]){'-', letter, '\0'}, value, why);
}

// "-w /etc -- ls" means /etc for the option, which takes a value only when it is attached; without this /etc would be run.
static enum option_step end(struct option_reader *reader, bool dashes, struct failure *why) {
  const struct option *bare = reader->bare;
  int next = reader->index + 1;
  if (dashes || bare == NULL || next >= reader->argc || strcmp(reader->argv[next], "--") != 0) return OPTION_END;
  fail(why, ERROR_USAGE, "--%s takes a value only with '=': write --%s=%s", bare->name, bare->name, reader->argv[reader->index]);
  return OPTION_WRONG;
}

enum option_step options_next(struct option_reader *reader, const struct option **option, const char **value, struct failure *why) {
  if (reader->letters != NULL) return next_short(reader, option, value, why);
  const char *word = has_more(reader) ? reader->argv[reader->index] : "";
  if (word[0] != '-' || word[1] == '\0') return end(reader, false, why);
  if (word[1] == '-' && word[2] != '\0') return next_long(reader, option, value, why);
  reader->index++;
  if (word[1] == '-') return end(reader, true, why);
  reader->letters = word + 1;
  return next_short(reader, option, value, why);
}

bool option_report(const char *value, int *report, struct failure *why) {
  uint64_t number;
  if (!number_parse(value, strlen(value), INT32_MAX, false, &number) || number <= 2)
    return fail(why, ERROR_USAGE, "--report-fd '%s' is no number of a descriptor above 2", value);
  *report = (int)number;
  return true;
}

bool option_id(const char *name, const char *value, uint32_t *id, struct failure *why) {
  uint64_t number;
  if (!number_parse(value, strlen(value), LARGEST_ID, false, &number)) return fail(why, ERROR_USAGE, "%s '%s' is no number of an account", name, value);
  *id = (uint32_t)number;
  return true;
}

bool option_text(const char *name, const char *value, const char **text, struct failure *why) {
  if (*value == '\0') return fail(why, ERROR_USAGE, "%s= is empty", name);
  *text = value;
  return true;
}

void option_join(char **list, const char *value) {
  AUTO_BUFFER joined = {0};
  if (*list != NULL) buffer_print(&joined, "%s;", *list);
  buffer_text(&joined, value);
  cleanup_free(list);
  *list = steal(&joined.at);
}
