#include "disk/tell.h"

#include <string.h>

static void add_visible(struct buffer *line, const char *text, bool blanks) {
  AUTO_BUFFER visible = {0};
  buffer_visible(&visible, text[0] == '\0' ? "-" : text);
  buffer_byte(line, ' ');
  for (size_t i = 0; i < visible.length && line->length < TELL_MOST - 8; i++) {
    if (!blanks && visible.at[i] == ' ') buffer_text(line, "\\x20");
    else buffer_byte(line, visible.at[i]);
  }
}

void tell_word(struct buffer *line, const char *text) {
  add_visible(line, text, false);
}

void tell_rest(struct buffer *line, const char *text) {
  add_visible(line, text, true);
}

// What may follow each word, as the number of words and whether the last is the rest of the line.
static const struct {
  const char *name;
  enum told kind;
  size_t words;
  bool rest;
} lines[] = {
  {"found", TOLD_INFORMATION, 5, true}, {"root", TOLD_INFORMATION, 2, false}, {"merged", TOLD_INFORMATION, 3, false},
  {"replayed", TOLD_INFORMATION, 1, false}, {"stripped", TOLD_INFORMATION, 2, false}, {"fact", TOLD_INFORMATION, 2, true},
  {"progress", TOLD_PROGRESS, 1, false}, {"done", TOLD_DONE, 2, false}, {"fault", TOLD_FAULT, 2, true},
};

// The reader is a stranger once it has read a stranger's disk: these are all the codes that it can give.
static const enum error_code faults[] = {ERROR_DISK_INVALID, ERROR_DISK_UNSUPPORTED, ERROR_DISK_NO_SYSTEM, ERROR_DISK_AMBIGUOUS, ERROR_LIMIT_EXCEEDED,
  ERROR_TOOL_MISSING, ERROR_PLATFORM_NOT_FOUND, ERROR_STORAGE_FULL, ERROR_READER_FAILED};

static bool read_fault(const char *code, size_t code_length, const char *what, size_t what_length, struct failure *fault) {
  for (size_t i = 0; i < COUNT_OF(faults); i++) {
    if (!text_is(code, code_length, error_name(faults[i]))) continue;
    fail(fault, faults[i], "%.*s", (int)what_length, what);
    return true;
  }
  return false;
}

enum told told_read(const char *line, size_t length, struct told_line *told) {
  *told = (struct told_line){.kind = TOLD_WRONG};
  if (length == 0 || length > TELL_MOST || has_control(line, length)) return TOLD_WRONG;
  struct {
    const char *at;
    size_t length;
  } words[6];
  size_t count = 0, which = 0, left = length;
  const char *at = line;
  const char *space = memchr(line, ' ', length);
  if (space == NULL) return TOLD_WRONG;
  while (which < COUNT_OF(lines) && !text_is(line, (size_t)(space - line), lines[which].name)) which++;
  if (which == COUNT_OF(lines)) return TOLD_WRONG;
  left -= (size_t)(space - at) + 1;
  at = space + 1;
  while (count < lines[which].words) {
    bool last = count + 1 == lines[which].words;
    space = last && lines[which].rest ? NULL : memchr(at, ' ', left);
    if (last != (space == NULL)) return TOLD_WRONG;
    words[count].at = at;
    words[count].length = space == NULL ? left : (size_t)(space - at);
    if (words[count++].length == 0) return TOLD_WRONG;
    if (space == NULL) break;
    left -= (size_t)(space - at) + 1;
    at = space + 1;
  }
  enum told kind = lines[which].kind;
  if (kind == TOLD_FAULT && !read_fault(words[0].at, words[0].length, words[1].at, words[1].length, &told->fault)) return TOLD_WRONG;
  if ((kind == TOLD_PROGRESS || kind == TOLD_DONE) && !number_parse(words[0].at, words[0].length, LARGEST_SIZE, false, &told->bytes)) return TOLD_WRONG;
  if (kind == TOLD_DONE && !number_parse(words[1].at, words[1].length, LARGEST_SIZE, false, &told->entries)) return TOLD_WRONG;
  if (strcmp(lines[which].name, "stripped") == 0 && !number_parse(words[1].at, words[1].length, LARGEST_SIZE, false, &told->entries)) return TOLD_WRONG;
  return told->kind = kind;
}
