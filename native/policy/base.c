#include "policy/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/failure.h"

_Noreturn void memory_exhausted(void) {
  static const char line[] = "shifter: RESOURCE: out of memory.\n";
  ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
  (void)ignored;
  _exit(error_exit(ERROR_RESOURCE));
}

void *memory_get(size_t count, size_t size) {
  void *memory = calloc(count == 0 ? 1 : count, size);
  if (memory == NULL) memory_exhausted();
  return memory;
}

void *memory_resize(void *old, size_t count, size_t size) {
  void *memory = reallocarray(old, count == 0 ? 1 : count, size);
  if (memory == NULL) memory_exhausted();
  return memory;
}

char *memory_copy(const char *bytes, size_t length) {
  char *copy = memory_get(length + 1, 1);
  if (length > 0) memcpy(copy, bytes, length);
  return copy;
}

void cleanup_free(void *pointer_to_pointer) {
  free(steal(pointer_to_pointer));
}

void *steal(void *pointer_to_pointer) {
  void *pointer = NULL, *none = NULL;
  memcpy(&pointer, pointer_to_pointer, sizeof pointer);
  memcpy(pointer_to_pointer, &none, sizeof none);
  return pointer;
}

// Room is doubled, so that a long list costs linear time.
void *memory_grow(void *items, size_t *room, size_t needed, size_t size) {
  if (needed > SIZE_MAX / 4) memory_exhausted();
  if (needed <= *room) return items;
  if (*room < 16) *room = 16;
  while (*room < needed) *room *= 2;
  return memory_resize(items, *room, size);
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t length) {
  if (length > SIZE_MAX / 4) memory_exhausted();
  buffer->at = memory_grow(buffer->at, &buffer->room, buffer->length + length + 1, 1);
  if (length > 0) memcpy(buffer->at + buffer->length, bytes, length);
  buffer->length += length;
  buffer->at[buffer->length] = '\0';
}

void buffer_text(struct buffer *buffer, const char *text) {
  buffer_add(buffer, text, strlen(text));
}

void buffer_byte(struct buffer *buffer, char byte) {
  buffer_add(buffer, &byte, 1);
}

void buffer_print_list(struct buffer *buffer, const char *format, va_list arguments) {
  AUTO_FREE char *text = NULL;
  int length = vasprintf(&text, format, arguments);
  if (length < 0) memory_exhausted();
  buffer_add(buffer, text, (size_t)length);
}

void buffer_print(struct buffer *buffer, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  buffer_print_list(buffer, format, arguments);
  va_end(arguments);
}

void buffer_free(struct buffer *buffer) {
  free(buffer->at);
  *buffer = (struct buffer){0};
}

void words_add(struct words *words, const char *text, size_t length) {
  words->items = memory_grow(words->items, &words->room, words->count + 2, sizeof *words->items);
  words->items[words->count++] = memory_copy(text, length);
  words->items[words->count] = NULL;
}

void words_add_text(struct words *words, const char *text) {
  words_add(words, text, strlen(text));
}

void words_add_split(struct words *words, const char *text, const char *separators) {
  while (*(text += strspn(text, separators)) != '\0') {
    size_t length = strcspn(text, separators);
    words_add(words, text, length);
    text += length;
  }
}

bool words_hold(const struct words *words, const char *text) {
  for (size_t i = 0; i < words->count; i++)
    if (strcmp(words->items[i], text) == 0) return true;
  return false;
}

void words_free(struct words *words) {
  for (size_t i = 0; i < words->count; i++) free(words->items[i]);
  free(words->items);
  *words = (struct words){0};
}

void ids_add(struct ids *ids, uint32_t id) {
  ids->items = memory_grow(ids->items, &ids->room, ids->count + 1, sizeof *ids->items);
  ids->items[ids->count++] = id;
}

bool ids_hold(const struct ids *ids, uint32_t id) {
  for (size_t i = 0; i < ids->count; i++)
    if (ids->items[i] == id) return true;
  return false;
}

void ids_free(struct ids *ids) {
  free(ids->items);
  *ids = (struct ids){0};
}

bool number_parse(const char *at, size_t length, uint64_t largest, bool zeros, uint64_t *number) {
  if (length == 0 || (!zeros && length > 1 && at[0] == '0')) return false;
  uint64_t value = 0;
  for (size_t i = 0; i < length; i++) {
    if (at[i] < '0' || at[i] > '9') return false;
    uint64_t digit = (uint64_t)(at[i] - '0');
    if (digit > largest || value > (largest - digit) / 10) return false;
    value = value * 10 + digit;
  }
  *number = value;
  return true;
}

int hex_digit(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  byte = (char)(byte | 0x20);
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : 16;
}

// [KMGTPE][i][B]: which power of 1024, or -1.
static int unit_parse(const char *at, size_t length) {
  static const char units[] = "kmgtpe";
  const char *unit = length == 0 ? NULL : strchr(units, *at | 0x20);
  if (unit != NULL) at++, length--;
  if (unit != NULL && length > 1 && (*at | 0x20) == 'i') at++, length--;
  if (length == 1 && (*at | 0x20) == 'b') length--;
  return length > 0 ? -1 : unit == NULL ? 0 : (int)(unit - units) + 1;
}

bool bytes_parse(const char *at, size_t length, uint64_t largest, uint64_t *bytes) {
  bool hex = length > 2 && at[0] == '0' && (at[1] | 0x20) == 'x';
  int base = hex ? 16 : 10;
  size_t start = hex ? 2 : 0, end = start;
  uint64_t whole = 0, part = 0, scale = 1;
  for (; end < length && hex_digit(at[end]) < base; end++) {
    uint64_t digit = (uint64_t)hex_digit(at[end]);
    if (digit > largest || whole > (largest - digit) / (uint64_t)base) return false;
    whole = whole * (uint64_t)base + digit;
  }
  bool digits = end > start;
  if (!hex && end < length && at[end] == '.') {
    for (end++; end < length && hex_digit(at[end]) < 10; end++, digits = true)
      if (scale < 1000) part = part * 10 + (uint64_t)hex_digit(at[end]), scale *= 10; // more places would say nothing
  }
  int power = digits ? unit_parse(at + end, length - end) : -1;
  if (power < 0) return false;
  uint64_t factor = UINT64_C(1) << (10 * power);
  part = factor / scale * part + factor % scale * part / scale; // as bytes; the plain product may not fit
  if (whole > largest / factor || part > largest - whole * factor) return false;
  *bytes = whole * factor + part;
  return true;
}

bool is_control(char byte) {
  return (unsigned char)byte < 0x20 || byte == 0x7f;
}

bool is_blank(char byte) {
  return byte == ' ' || byte == '\t';
}

bool has_control(const char *at, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (is_control(at[i])) return true;
  return false;
}

bool text_is(const char *at, size_t length, const char *text) {
  return strlen(text) == length && memcmp(at, text, length) == 0;
}

void trim(const char **at, size_t *length) {
  while (*length > 0 && is_blank(**at)) ++*at, --*length;
  while (*length > 0 && is_blank((*at)[*length - 1])) --*length;
}

const char *text_cut(const char *at, size_t *length, char separator, size_t *rest) {
  const char *found = memchr(at, separator, *length);
  if (found == NULL) return NULL;
  *rest = *length - (size_t)(found + 1 - at);
  *length = (size_t)(found - at);
  return found + 1;
}

struct part parts_of(const char *at, size_t length) {
  return (struct part){.next = at, .end = length == 0 ? at : at + length};
}

bool part_next(struct part *part, char separator) {
  if (part->next == NULL) return false;
  const char *found = memchr(part->next, separator, (size_t)(part->end - part->next));
  part->at = part->next;
  part->length = (size_t)((found == NULL ? part->end : found) - part->at);
  part->next = found == NULL ? NULL : found + 1;
  return true;
}
