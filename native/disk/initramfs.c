#include "disk/initramfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "disk/archive.h"
#include "disk/guest.h"
#include "mechanism/open.h"

#define MODULES "/usr/lib/uml/modules"
// The guest's first program, which this one carries.
extern const char disk_guest_start[], disk_guest_end[];

#define FILE_MOST ((size_t)32 << 20)

static bool add_file(struct buffer *archive, const char *file, const char *name, mode_t mode, struct failure *why) {
  AUTO_BUFFER content = {0};
  AUTO_FD fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || !read_all(fd, FILE_MOST, &content)) return fail(why, ERROR_TOOL_MISSING, "%s can't be read: %s", file, strerror(errno));
  archive_add(archive, name, S_IFREG | mode, content.at, content.length);
  return true;
}

// Of each kernel there is: the guest takes those of its own.
static bool add_modules(struct buffer *archive, struct failure *why) {
  static const char *const modules[] = {"dm-mod", "dm-bufio", "dm-snapshot"};
  AUTO_WORDS releases = {0};
  AUTO_FD directory = open(MODULES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0 || !names_in(directory, false, &releases) || releases.count == 0)
    return fail(why, ERROR_TOOL_MISSING, "%s has no modules: install the package user-mode-linux", MODULES);
  archive_add(archive, "modules", S_IFDIR | 0755, NULL, 0);
  for (size_t i = 0; i < releases.count; i++) {
    AUTO_BUFFER above = {0};
    buffer_print(&above, "modules/%s", releases.items[i]);
    archive_add(archive, above.at, S_IFDIR | 0755, NULL, 0);
    for (size_t k = 0; k < COUNT_OF(modules); k++) {
      AUTO_BUFFER file = {0}, name = {0};
      buffer_print(&file, "%s/%s/kernel/drivers/md/%s.ko", MODULES, releases.items[i], modules[k]);
      buffer_print(&name, "%s/%s.ko", above.at, modules[k]);
      if (!add_file(archive, file.at, name.at, 0444, why)) return false;
    }
  }
  return true;
}

static void add_orders(struct buffer *archive, const char *partition, uint64_t entries, uint64_t bytes) {
  AUTO_BUFFER orders = {0};
  buffer_print(&orders, "entries=%llu\nbytes=%llu\n", (unsigned long long)entries, (unsigned long long)bytes);
  if (partition != NULL) {
    buffer_text(&orders, "partition=\"");
    for (; *partition != '\0'; partition++) {
      if (strchr("\"\\", *partition) != NULL) buffer_byte(&orders, '\\');
      buffer_byte(&orders, *partition);
    }
    buffer_text(&orders, "\"\n");
  }
  archive_add(archive, &GUEST_ORDERS[1], S_IFREG | 0400, orders.at, orders.length);
}

bool initramfs_make(const char *partition, uint64_t entries, uint64_t bytes, struct buffer *archive, struct failure *why) {
  static const char *const directories[] = {"dev", "proc", "root"};
  for (size_t i = 0; i < COUNT_OF(directories); i++) archive_add(archive, directories[i], S_IFDIR | 0755, NULL, 0);
  size_t length = (size_t)(&disk_guest_end[0] - &disk_guest_start[0]);
  if (length == 0) return fail(why, ERROR_TOOL_MISSING, "shifter-disk was built without its guest");
  archive_add(archive, "init", S_IFREG | 0755, disk_guest_start, length);
  if (!add_modules(archive, why)) return false;
  add_orders(archive, partition, entries, bytes);
  archive_end(archive);
  return true;
}
