#include "policy/superblock.h"

#include <string.h>

static uint64_t little(const unsigned char *at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = bytes; i > 0; i--) value = value << 8 | at[i - 1];
  return value;
}

static bool corrupt(const char *what, struct failure *why) {
  return fail(why, ERROR_IMAGE_CORRUPT, "the image file is no usable squashfs: %s", what);
}

bool superblock_check(const unsigned char block[static SUPERBLOCK_BYTES], uint64_t file_size, struct failure *why) {
  if (memcmp(block, "hsqs", 4) != 0) return corrupt("its magic is missing", why);
  if (little(block + 28, 2) != 4 || little(block + 30, 2) != 0) return corrupt("its version is not 4.0", why);
  uint64_t block_size = little(block + 12, 4), block_log = little(block + 22, 2);
  if (block_log < 12 || block_log > 20 || block_size != UINT64_C(1) << block_log) return corrupt("its block size is not valid", why);
  uint64_t compression = little(block + 20, 2);
  if (compression < 1 || compression > 6) return corrupt("its compressor is not known", why);
  uint64_t used = little(block + 40, 8);
  if (used < SUPERBLOCK_BYTES || used > file_size) return corrupt("the file is shorter than it says", why);
  // Tables lie inside the used bytes; absent ones are all ones.
  for (size_t at = 48; at < 96; at += 8) {
    uint64_t table = little(block + at, 8);
    bool needed = at != 56 && at != 80 && at != 88; // xattrs, fragments and exports may be absent
    if ((table == UINT64_MAX && !needed) || (table >= SUPERBLOCK_BYTES && table <= used)) continue;
    return corrupt("a table lies outside the file", why);
  }
  return true;
}
