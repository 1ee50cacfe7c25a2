// What every file of the native programs leans on: attributes, memory, growing text and lists.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLEANUP(function) __attribute__((__cleanup__(function)))
#define PRINTF_LIKE(text, first) __attribute__((__format__(__printf__, text, first)))
#define MUST_USE __attribute__((warn_unused_result))
#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

// Memory is never missing for a caller: the program ends with RESOURCE when there is none.
_Noreturn void memory_exhausted(void);
void *memory_get(size_t count, size_t size) MUST_USE;
void *memory_resize(void *old, size_t count, size_t size) MUST_USE;
void *memory_grow(void *items, size_t *room, size_t needed, size_t size) MUST_USE; // for a list that grows
char *memory_copy(const char *bytes, size_t length) MUST_USE; // adds a NUL
void cleanup_free(void *pointer_to_pointer);
void *steal(void *pointer_to_pointer) MUST_USE;
#define AUTO_FREE CLEANUP(cleanup_free)

// Bytes that grow; always followed by a NUL that is not counted.
struct buffer {
  char *at;
  size_t length, room;
};
void buffer_add(struct buffer *buffer, const void *bytes, size_t length);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_byte(struct buffer *buffer, char byte);
void buffer_print(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
void buffer_print_list(struct buffer *buffer, const char *format, va_list arguments) PRINTF_LIKE(2, 0);
void buffer_free(struct buffer *buffer);
#define AUTO_BUFFER CLEANUP(buffer_free) struct buffer

// A list of texts, ended by NULL like argv.
struct words {
  char **items;
  size_t count, room;
};
void words_add(struct words *words, const char *text, size_t length);
void words_add_text(struct words *words, const char *text);
void words_add_split(struct words *words, const char *text, const char *separators);
bool words_hold(const struct words *words, const char *text);
void words_free(struct words *words);
#define AUTO_WORDS CLEANUP(words_free) struct words

// Numbers of a list of ids.
struct ids {
  uint32_t *items;
  size_t count, room;
};
void ids_add(struct ids *ids, uint32_t id);
bool ids_hold(const struct ids *ids, uint32_t id);
void ids_free(struct ids *ids);

#define LARGEST_ID UINT32_C(4294967294) // (uid_t)-1 means "no change" to the kernel and is nobody's
#define LARGEST_SIZE UINT64_C(9007199254740991)

// Decimal digits alone, at most `largest`; leading zeros only where `zeros` says so.
bool number_parse(const char *at, size_t length, uint64_t largest, bool zeros, uint64_t *number) MUST_USE;
// 5, 5B, 500KB, 1.5G, 1KiB, 0x10: binary multiples, rounded down.
bool bytes_parse(const char *at, size_t length, uint64_t largest, uint64_t *bytes) MUST_USE;
bool is_control(char byte);
bool is_blank(char byte);
bool has_control(const char *at, size_t length);
bool text_is(const char *at, size_t length, const char *text);
int hex_digit(char byte); // 16 when it is none
void trim(const char **at, size_t *length); // blanks at both ends
// What follows the first separator, of *rest bytes, is taken off the text; NULL when there is none.
const char *text_cut(const char *at, size_t *length, char separator, size_t *rest);

// The parts of a text, one more than it has separators: for (struct part part = parts_of(at, length); part_next(&part, ':');)
struct part {
  const char *at;
  size_t length;
  const char *next, *end; // NULL behind the last one
};
struct part parts_of(const char *at, size_t length);
bool part_next(struct part *part, char separator);
