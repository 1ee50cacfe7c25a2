// Archives for tests, and what a reader makes of them.
#pragma once
#include "tests/testing.h"

#include "merge/tar.h"
#include "tests/making.h"

static inline void tar_file(struct buffer *out, const char *name, const char *content) {
  tar_header(out, '0', name, "", strlen(content));
  tar_data(out, content, strlen(content));
}

static inline void tar_extension(struct buffer *out, char flag, const char *content, size_t length) {
  tar_header(out, flag, "extension", "", length);
  tar_data(out, content, length);
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
