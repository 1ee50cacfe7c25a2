#include "merge/contents.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "merge/table.h"

#define HASH 32

struct contents {
  struct sample sample;
  EVP_MD_CTX *inode, *name;
  uint64_t sum[HASH / sizeof(uint64_t)]; // the lowest part first
  uint64_t size, mtime, mode, position;  // of the file at hand
};

static bool hex_digits(const char *at, uint64_t *value) {
  *value = 0;
  for (size_t i = 0; i < 16; i++) {
    char c = at[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    *value = *value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return at[16] == '\0';
}

bool sample_parse(struct sample *sample, const char *text) {
  const char *colon = strchr(text, ':');
  return colon != NULL && number_parse(text, (size_t)(colon - text), LARGEST_SIZE, false, &sample->every) && hex_digits(colon + 1, &sample->key);
}

// A context that has its hash function already is only set back.
static EVP_MD_CTX *hash_open(void) {
  EVP_MD_CTX *hash = EVP_MD_CTX_new();
  if (hash == NULL || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1) memory_exhausted();
  return hash;
}

static void hash_reset(EVP_MD_CTX *hash) {
  if (EVP_DigestInit_ex(hash, NULL, NULL) != 1) memory_exhausted();
}

static void hash_bytes(EVP_MD_CTX *hash, const void *at, size_t length) {
  if (EVP_DigestUpdate(hash, at, length) != 1) memory_exhausted();
}

static void hash_number(EVP_MD_CTX *hash, uint64_t number) {
  hash_bytes(hash, &number, sizeof number); // both sides run on one machine
}

static void hash_text(EVP_MD_CTX *hash, const char *at, size_t length) {
  hash_number(hash, length);
  hash_bytes(hash, at, length);
}

static void hash_end(EVP_MD_CTX *hash, unsigned char value[static HASH]) {
  if (EVP_DigestFinal_ex(hash, value, NULL) != 1) memory_exhausted();
}

struct contents *contents_open(const struct sample *sample) {
  struct contents *contents = memory_get(1, sizeof *contents);
  *contents = (struct contents){.sample = *sample, .inode = hash_open(), .name = hash_open()};
  return contents;
}

void contents_close(struct contents **contents) {
  struct contents *each = *contents;
  if (each == NULL) return;
  EVP_MD_CTX_free(each->inode);
  EVP_MD_CTX_free(each->name);
  free(each);
  *contents = NULL;
}

static bool is_sampled(const struct contents *contents, uint64_t piece) {
  if (contents->sample.every <= 1) return contents->sample.every == 1;
  const uint64_t what[] = {contents->size, contents->mtime, contents->mode, piece};
  return keyed_hash(contents->sample.key, (const char *)what, sizeof what) % contents->sample.every == 0;
}

void contents_begin(struct contents *contents, const struct tar_entry *entry) {
  EVP_MD_CTX *hash = contents->inode;
  contents->size = entry->size;
  contents->mtime = (uint64_t)entry->mtime;
  contents->mode = entry->type == TAR_SYMLINK ? 0 : entry->mode; // a symbolic link has none of its own
  contents->position = 0;
  hash_reset(hash);
  hash_number(hash, entry->type);
  hash_number(hash, contents->mode);
  hash_number(hash, contents->size);
  hash_number(hash, contents->mtime);
  hash_text(hash, entry->link, entry->type == TAR_SYMLINK ? entry->link_length : 0);
  hash_number(hash, entry->attribute_count);
  for (size_t i = 0; i < entry->attribute_count; i++) {
    const struct tar_attribute *each = &entry->attributes[i];
    hash_text(hash, each->name, each->name_length);
    hash_text(hash, each->value, each->value_length);
  }
}

static void hash_zeros(EVP_MD_CTX *hash, uint64_t length) {
  static const unsigned char none[4096];
  while (length > 0) {
    size_t n = length < sizeof none ? (size_t)length : sizeof none;
    hash_bytes(hash, none, n);
    length -= n;
  }
}

void contents_piece(struct contents *contents, const unsigned char *at, uint64_t length) {
  while (length > 0) {
    uint64_t piece = contents->position / CONTENTS_PIECE, room = CONTENTS_PIECE - contents->position % CONTENTS_PIECE;
    uint64_t n = length < room ? length : room;
    if (is_sampled(contents, piece)) {
      if (room == CONTENTS_PIECE) hash_number(contents->inode, piece);
      if (at == NULL) hash_zeros(contents->inode, n);
      else hash_bytes(contents->inode, at, (size_t)n);
    }
    if (at != NULL) at += n;
    contents->position += n;
    length -= n;
  }
}

bool contents_wants(const struct contents *contents, uint64_t length) {
  if (contents->sample.every <= 1) return contents->sample.every == 1;
  uint64_t end = contents->position + length;
  for (uint64_t piece = contents->position / CONTENTS_PIECE; piece * CONTENTS_PIECE < end; piece++)
    if (is_sampled(contents, piece)) return true;
  return false;
}

void contents_end(struct contents *contents, unsigned char inode[static CONTENTS_INODE]) {
  unsigned char value[HASH];
  hash_end(contents->inode, value);
  memcpy(inode, value, CONTENTS_INODE); // kept for every file while its layer is read: half a hash is enough for accidents
}

void contents_name(struct contents *contents, const char *path, size_t length, const unsigned char inode[static CONTENTS_INODE]) {
  unsigned char value[HASH];
  hash_reset(contents->name);
  hash_text(contents->name, path, length);
  hash_bytes(contents->name, inode, CONTENTS_INODE);
  hash_end(contents->name, value);
  uint64_t carry = 0;
  for (size_t i = 0; i < COUNT_OF(contents->sum); i++) {
    uint64_t part;
    memcpy(&part, value + i * sizeof part, sizeof part);
    __uint128_t sum = (__uint128_t)contents->sum[i] + part + carry;
    contents->sum[i] = (uint64_t)sum;
    carry = (uint64_t)(sum >> 64);
  }
}

void contents_digest(const struct contents *contents, char hex[static SHA256_HEX]) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < 64; i++) hex[i] = digits[contents->sum[3 - i / 16] >> (60 - 4 * (i % 16)) & 15];
  hex[64] = '\0';
}
