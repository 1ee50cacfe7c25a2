#include "disk/tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/system.h"
#include "mechanism/open.h"

static int open_below(const char *root, const char *path, uint64_t flags) {
  AUTO_FD directory = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return directory < 0 ? -1 : open_resolved(directory, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

bool tree_read(const char *root, const char *path, size_t most, bool whole, struct buffer *content) {
  struct stat status;
  AUTO_FD fd = open_below(root, path, O_RDONLY | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  if (whole) return read_all(fd, most, content);
  char piece[256];
  ssize_t n = read(fd, piece, most < sizeof piece ? most : sizeof piece);
  if (n <= 0) return false;
  buffer_add(content, piece, (size_t)n);
  return true;
}

bool tree_has(const char *root, const char *path) {
  AUTO_FD fd = open_below(root, path, O_PATH | O_NOFOLLOW);
  return fd >= 0;
}

void tree_system(const char *root, const char *key, struct buffer *value) {
  AUTO_BUFFER text = {0};
  buffer_text(value, "");
  if (!tree_read(root, "etc/os-release", 65536, true, &text) && !tree_read(root, "usr/lib/os-release", 65536, true, &text)) return;
  if (!assignment_read(text.at, text.length, key, value)) value->length = 0;
}

const char *tree_architecture(const char *root) {
  // The first may be missing in a system of few programs.
  static const char *const programs[] = {"bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/env", "bin/busybox", "sbin/init", "usr/lib/systemd/systemd"};
  for (size_t i = 0; i < COUNT_OF(programs); i++) {
    AUTO_BUFFER start = {0};
    if (!tree_read(root, programs[i], 64, false, &start)) continue;
    const char *architecture = elf_architecture((const unsigned char *)start.at, start.length);
    if (architecture != NULL) return architecture;
  }
  return NULL;
}
