#include "merge/writer.h"

#include <stdlib.h>
#include <string.h>

#define ROOM ((size_t)512 << 10)
#define PASSED_ON ((size_t)64 << 10) // pieces from this size on are not copied

struct writer {
  struct writer_output output;
  size_t used;
  uint64_t content;
  unsigned char buffer[ROOM];
};

struct writer *writer_open(struct writer_output output) {
  struct writer *writer = memory_get(1, sizeof *writer);
  writer->output = output;
  return writer;
}

void writer_close(struct writer **writer) {
  free(*writer);
  *writer = NULL;
}

static bool flush(struct writer *writer) {
  size_t used = writer->used;
  writer->used = 0;
  return used == 0 || writer->output.write(writer->output.to, writer->buffer, used);
}

static bool put(struct writer *writer, const unsigned char *at, size_t length) {
  if (length >= PASSED_ON) return flush(writer) && writer->output.write(writer->output.to, at, length);
  if (ROOM - writer->used < length && !flush(writer)) return false;
  memcpy(writer->buffer + writer->used, at, length);
  writer->used += length;
  return true;
}

static bool zeros(struct writer *writer, uint64_t length) {
  static const unsigned char none[64 << 10];
  while (length > 0) {
    size_t n = length < sizeof none ? (size_t)length : sizeof none;
    if (!put(writer, none, n)) return false;
    length -= n;
  }
  return true;
}

// So many octal digits; larger and negative numbers in base 256.
static void number(unsigned char *field, size_t digits, int64_t value) {
  uint64_t bits = (uint64_t)value;
  if (value >= 0 && (digits * 3 >= 63 || bits >> (digits * 3) == 0)) {
    for (size_t i = digits; i-- > 0; bits >>= 3) field[i] = (unsigned char)('0' + (bits & 7));
    return;
  }
  for (size_t i = digits + 1; i-- > 0;) {
    size_t shift = (digits - i) * 8;
    field[i] = (unsigned char)(shift < 64 ? bits >> shift : value < 0 ? UINT64_C(0xff) : 0);
  }
  field[0] = value < 0 ? 0xff : 0x80;
}

static void text(unsigned char *field, size_t room, const char *at, size_t length) {
  if (length > 0) memcpy(field, at, length < room ? length : room);
}

static bool block(struct writer *writer, char flag, const struct tar_entry *entry) {
  unsigned char b[TAR_BLOCK] = {0};
  text(b, 100, entry->name, entry->name_length);
  number(b + 100, 7, entry->mode);
  number(b + 108, 7, 0);
  number(b + 116, 7, 0);
  number(b + 124, 11, (int64_t)entry->size);
  number(b + 136, 11, entry->mtime);
  b[156] = (unsigned char)flag;
  text(b + 157, 100, entry->link, entry->link_length);
  memcpy(b + 257, "ustar  ", 8);
  memset(b + 148, ' ', 8);
  uint32_t sum = 0;
  for (size_t i = 0; i < sizeof b; i++) sum += b[i];
  number(b + 148, 6, sum);
  b[154] = '\0';
  writer->content = 0;
  return put(writer, b, sizeof b);
}

static bool extension(struct writer *writer, char flag, const char *name, const char *at, size_t length) {
  struct tar_entry entry = {.name = name, .name_length = strlen(name), .size = length};
  return block(writer, flag, &entry) && writer_content(writer, (const unsigned char *)at, length) && writer_content_end(writer);
}

static size_t digits_of(size_t n) {
  size_t digits = 1;
  for (; n >= 10; n /= 10) digits++;
  return digits;
}

static bool attributes(struct writer *writer, const struct tar_entry *entry) {
  AUTO_BUFFER records = {0};
  for (size_t i = 0; i < entry->attribute_count; i++) {
    const struct tar_attribute *each = &entry->attributes[i];
    // The length counts its own digits.
    size_t rest = sizeof " SCHILY.xattr.=\n" - 1 + each->name_length + each->value_length, length = rest + digits_of(rest);
    if (digits_of(length) != digits_of(rest)) length++;
    buffer_print(&records, "%zu SCHILY.xattr.", length);
    buffer_add(&records, each->name, each->name_length);
    buffer_byte(&records, '=');
    buffer_add(&records, each->value, each->value_length);
    buffer_byte(&records, '\n');
  }
  return records.length == 0 || extension(writer, 'x', "././@PaxHeader", records.at, records.length);
}

bool writer_header(struct writer *writer, const struct tar_entry *entry) {
  static const char flags[] = "0123456";
  if (entry->attribute_count > 0 && !attributes(writer, entry)) return false;
  if (entry->link_length > 100 && !extension(writer, 'K', "././@LongLink", entry->link, entry->link_length + 1)) return false;
  if (entry->name_length > 100 && !extension(writer, 'L', "././@LongLink", entry->name, entry->name_length + 1)) return false;
  return block(writer, flags[entry->type], entry);
}

bool writer_content(struct writer *writer, const unsigned char *at, uint64_t length) {
  writer->content += length;
  return at == NULL ? zeros(writer, length) : put(writer, at, (size_t)length);
}

bool writer_content_end(struct writer *writer) {
  return zeros(writer, (TAR_BLOCK - writer->content % TAR_BLOCK) % TAR_BLOCK);
}

bool writer_end(struct writer *writer) {
  return zeros(writer, 2 * (uint64_t)TAR_BLOCK) && flush(writer);
}
