#include "disk/archive.h"

#include <string.h>

static void pad(struct buffer *archive) {
  while (archive->length % 4 != 0) buffer_byte(archive, '\0');
}

void archive_add(struct buffer *archive, const char *name, mode_t mode, const void *at, size_t length) {
  size_t name_length = strlen(name) + 1;
  // Magic, inode, mode, owner, group, links, time, size, four device numbers, the length of the name, no checksum.
  buffer_print(archive, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0U, (unsigned)mode, 0U, 0U, 1U, 0U, (unsigned)length, 0U, 0U, 0U, 0U,
    (unsigned)name_length, 0U);
  buffer_add(archive, name, name_length);
  pad(archive);
  if (length > 0) buffer_add(archive, at, length);
  pad(archive);
}

void archive_end(struct buffer *archive) {
  archive_add(archive, "TRAILER!!!", 0, NULL, 0);
}
