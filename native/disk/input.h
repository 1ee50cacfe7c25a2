// Bytes of a disk, a partition or a logical volume, for the parsers: each trusts no number it finds.
#pragma once
#include <string.h>

#include "policy/failure.h"

struct disk_input {
  bool (*read)(void *from, uint64_t offset, void *into, size_t length); // all of it, or false
  void *from;
  uint64_t size;
};

static inline bool disk_read(const struct disk_input *input, uint64_t offset, void *into, size_t length) {
  return offset <= input->size && length <= input->size - offset && input->read(input->from, offset, into, length);
}

// Of a descriptor: `from` points at it.
bool read_file(void *from, uint64_t offset, void *into, size_t length);

static inline uint32_t little16(const unsigned char *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static inline uint32_t little32(const unsigned char *at) {
  return little16(at) | little16(at + 2) << 16;
}

static inline uint64_t little64(const unsigned char *at) {
  return little32(at) | (uint64_t)little32(at + 4) << 32;
}

static inline uint32_t big32(const unsigned char *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

// The reflected CRC-32, without the inversions at both ends that GPT asks for and LVM does not.
static inline uint32_t crc32_add(uint32_t crc, const void *bytes, size_t length) {
  const unsigned char *at = bytes;
  for (size_t i = 0; i < length; i++) {
    crc ^= at[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
  }
  return crc;
}

#define DISK_UUID 37

// 8-4-4-4-12 in small letters, of bytes in the order they are written.
static inline void uuid_text(const unsigned char bytes[16], char text[static DISK_UUID]) {
  static const char digits[] = "0123456789abcdef";
  size_t n = 0;
  for (size_t i = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text[n++] = '-';
    text[n++] = digits[bytes[i] >> 4];
    text[n++] = digits[bytes[i] & 15];
  }
  text[n] = '\0';
}
