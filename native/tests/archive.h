// Archives for tests, written by hand: nothing of the reader's or writer's own is used.
#pragma once
#include "tests/testing.h"

#include "merge/tar.h"

static inline void tar_number(unsigned char *field, size_t length, uint64_t value) {
  field[length - 1] = '\0';
  for (size_t i = length - 1; i-- > 0; value >>= 3) field[i] = (unsigned char)('0' + (value & 7));
}

static inline void tar_sum(unsigned char *block) {
  memset(block + 148, ' ', 8);
  unsigned sum = 0;
  for (size_t i = 0; i < TAR_BLOCK; i++) sum += block[i];
  tar_number(block + 148, 7, sum);
}

// A header at the end of `out`, to be changed before anything else is added; then it needs tar_sum.
static inline unsigned char *tar_header(struct buffer *out, char flag, const char *name, const char *link, uint64_t size) {
  static const char zeros[TAR_BLOCK];
  size_t start = out->length;
  buffer_add(out, zeros, TAR_BLOCK);
  unsigned char *block = (unsigned char *)out->at + start;
  memcpy(block, name, strlen(name) < 100 ? strlen(name) : 100);
  tar_number(block + 100, 8, flag == '5' ? 0755 : 0644);
  tar_number(block + 108, 8, 0);
  tar_number(block + 116, 8, 0);
  tar_number(block + 124, 12, size);
  tar_number(block + 136, 12, 7);
  block[156] = (unsigned char)flag;
  memcpy(block + 157, link, strlen(link) < 100 ? strlen(link) : 100);
  memcpy(block + 257, "ustar\00000", 8);
  tar_sum(block);
  return block;
}

static inline void tar_data(struct buffer *out, const char *at, size_t length) {
  static const char zeros[TAR_BLOCK];
  buffer_add(out, at, length);
  buffer_add(out, zeros, (TAR_BLOCK - length % TAR_BLOCK) % TAR_BLOCK);
}

static inline void tar_file(struct buffer *out, const char *name, const char *content) {
  tar_header(out, '0', name, "", strlen(content));
  tar_data(out, content, strlen(content));
}

static inline void tar_extension(struct buffer *out, char flag, const char *content, size_t length) {
  tar_header(out, flag, "extension", "", length);
  tar_data(out, content, length);
}

static inline void pax_add(struct buffer *records, const char *key, const char *value, size_t length) {
  size_t rest = strlen(key) + length + 3, all = rest + 1;
  char digits[24];
  while ((size_t)snprintf(digits, sizeof digits, "%zu", all) + rest != all) all++;
  buffer_print(records, "%zu %s=", all, key);
  buffer_add(records, value, length);
  buffer_byte(records, '\n');
}

// Pairs of key and value, ended by NULL.
static inline void tar_pax(struct buffer *out, char flag, const char *const *pairs) {
  AUTO_BUFFER records = {0};
  buffer_text(&records, "");
  for (; pairs[0] != NULL; pairs += 2) pax_add(&records, pairs[0], pairs[1], strlen(pairs[1]));
  tar_extension(out, flag, records.at, records.length);
}
#define PAX(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline void tar_end(struct buffer *out) {
  static const char zeros[2 * TAR_BLOCK];
  buffer_add(out, zeros, sizeof zeros);
}

// Hands bytes on in pieces, each a copy of its own, so that the sanitizer sees what goes past one.
struct pieces {
  const char *at;
  size_t left, piece;
  unsigned char *copy;
};

static inline bool pieces_more(void *from, const unsigned char **at, size_t *length, struct failure *why) {
  (void)why;
  struct pieces *pieces = from;
  *length = pieces->left < pieces->piece ? pieces->left : pieces->piece;
  free(pieces->copy);
  pieces->copy = malloc(*length == 0 ? 1 : *length);
  assert_non_null(pieces->copy);
  if (*length > 0) memcpy(pieces->copy, pieces->at, *length);
  *at = pieces->copy;
  pieces->at += *length;
  pieces->left -= *length;
  return true;
}

// What a reader makes of an archive, a line an entry, and the fault it ends with.
static inline void tar_show(const char *at, size_t length, size_t piece, struct buffer *out) {
  struct pieces pieces = {at, length, piece, NULL};
  struct tar_reader *reader = tar_open((struct tar_input){pieces_more, &pieces});
  struct failure why = {0};
  const struct tar_entry *entry;
  enum tar_step step;
  bool fine = true;
  buffer_text(out, "");
  while (fine && (step = tar_next(reader, &entry, &why)) == TAR_ENTRY) {
    buffer_print(out, "%s %s %o %lld", tar_type_name(entry->type), entry->name, entry->mode, (long long)entry->mtime);
    assert_int_equal(strlen(entry->name), entry->name_length);
    assert_int_equal(strlen(entry->link), entry->link_length);
    if (entry->link_length > 0) buffer_print(out, " -> %s", entry->link);
    for (size_t i = 0; i < entry->attribute_count; i++) {
      const struct tar_attribute *each = &entry->attributes[i];
      buffer_print(out, " %s=%.*s", each->name, (int)each->value_length, each->value);
    }
    if (entry->type == TAR_REGULAR) {
      buffer_print(out, " %llu:", (unsigned long long)entry->size);
      for (;;) {
        const unsigned char *content;
        uint64_t taken;
        fine = tar_content(reader, &content, &taken, &why);
        if (!fine || taken == 0) break;
        if (content == NULL) buffer_print(out, "[%llu]", (unsigned long long)taken);
        else buffer_add(out, content, (size_t)taken);
      }
    }
    buffer_byte(out, '\n');
  }
  if (!fine || step == TAR_FAULT) buffer_print(out, "%s: %s", error_name(why.code), why.what);
  tar_close(&reader);
  free(pieces.copy);
}

static const size_t piece_sizes[] = {1, 511, 512, 513, 1 << 20};
