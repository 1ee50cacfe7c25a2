// Archives written by hand, for tests and fuzzers: nothing of the reader's or writer's own is used.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static inline void pax_add(struct buffer *records, const char *key, const char *value, size_t length) {
  size_t rest = strlen(key) + length + 3, all = rest + 1;
  char digits[24];
  while ((size_t)snprintf(digits, sizeof digits, "%zu", all) + rest != all) all++;
  buffer_print(records, "%zu %s=", all, key);
  buffer_add(records, value, length);
  buffer_byte(records, '\n');
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
  pieces->copy = memory_get(*length == 0 ? 1 : *length, 1);
  if (*length > 0) memcpy(pieces->copy, pieces->at, *length);
  *at = pieces->copy;
  pieces->at += *length;
  pieces->left -= *length;
  return true;
}

// A whole archive as the input of a reader.
struct tar_whole {
  const struct buffer *tar;
  bool given;
};

static inline bool tar_whole_give(void *from, const unsigned char **at, size_t *length, struct failure *why) {
  (void)why;
  struct tar_whole *whole = from;
  *at = (const unsigned char *)whole->tar->at;
  *length = whole->given ? 0 : whole->tar->length;
  whole->given = true;
  return true;
}
