#include "disk/mapper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "mechanism/open.h"

void map_add(struct map *map, uint64_t start, uint64_t length, const char *target, const char *format, ...) {
  AUTO_BUFFER arguments = {0};
  va_list list;
  va_start(list, format);
  buffer_print_list(&arguments, format, list);
  va_end(list);
  map->items = memory_grow(map->items, &map->room, map->count + 1, sizeof *map->items);
  map->items[map->count++] = (struct map_piece){start, length, target, steal(&arguments.at)};
}

uint64_t map_sectors(const struct map *map) {
  uint64_t end = 0;
  for (size_t i = 0; i < map->count; i++)
    if (map->items[i].start + map->items[i].length > end) end = map->items[i].start + map->items[i].length;
  return end;
}

void map_free(struct map *map) {
  for (size_t i = 0; i < map->count; i++) free(map->items[i].arguments);
  free(map->items);
  *map = (struct map){0};
}

static bool load(const char *release, const char *name, struct failure *why) {
  AUTO_BUFFER path = {0};
  buffer_print(&path, "/modules/%s/%s.ko", release, name);
  AUTO_FD fd = open(path.at, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(why, ERROR_TOOL_MISSING, "the guest's kernel %s has no module %s in /usr/lib/uml/modules", release, name);
  return syscall(SYS_finit_module, fd, "", 0) == 0 || errno == EEXIST ||
         fail(why, ERROR_TOOL_MISSING, "the guest's kernel %s does not take its module %s: %s", release, name, strerror(errno));
}

bool mapper_prepare(struct failure *why) {
  struct utsname kernel;
  if (uname(&kernel) != 0) return fail(why, ERROR_READER_FAILED, "the guest's kernel has no name: %s", strerror(errno));
  return load(kernel.release, "dm-mod", why) && load(kernel.release, "dm-bufio", why) && load(kernel.release, "dm-snapshot", why);
}

static struct dm_ioctl *begin(struct buffer *buffer, unsigned number, uint32_t flags) {
  struct dm_ioctl header = {.version = {DM_VERSION_MAJOR, 0, 0}, .data_start = sizeof header, .flags = flags};
  snprintf(header.name, sizeof header.name, "v%u", number);
  buffer_add(buffer, &header, sizeof header);
  return (struct dm_ioctl *)(void *)buffer->at;
}

static void add_targets(struct buffer *buffer, const struct map *map) {
  static const char zeros[8];
  for (size_t i = 0; i < map->count; i++) {
    const struct map_piece *piece = &map->items[i];
    size_t length = strlen(piece->arguments) + 1, padded = (length + 7) & ~(size_t)7;
    struct dm_target_spec spec = {.sector_start = piece->start, .length = piece->length, .next = (uint32_t)(sizeof spec + padded)};
    snprintf(spec.target_type, sizeof spec.target_type, "%s", piece->target);
    buffer_add(buffer, &spec, sizeof spec);
    buffer_add(buffer, piece->arguments, length);
    buffer_add(buffer, zeros, padded - length);
  }
}

static bool command(int control, unsigned long request, struct buffer *buffer, const char *step, struct failure *why) {
  // The answer is written over the question, into what room is left.
  static const char room[4096];
  buffer_add(buffer, room, sizeof room);
  struct dm_ioctl *header = (struct dm_ioctl *)(void *)buffer->at;
  header->data_size = (uint32_t)buffer->length;
  return ioctl(control, request, header) == 0 || fail(why, ERROR_DISK_INVALID, "a volume of the disk can't be put together (%s: %s)", step, strerror(errno));
}

bool mapper_make(const struct map *map, bool read_only, unsigned number, unsigned *major, unsigned *minor, struct failure *why) {
  AUTO_FD control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
  if (control < 0) return fail(why, ERROR_READER_FAILED, "the guest has no device mapper: %s", strerror(errno));
  uint32_t flags = read_only ? DM_READONLY_FLAG : 0;
  AUTO_BUFFER create = {0}, table = {0}, resume = {0};
  struct dm_ioctl *header = begin(&create, number, flags | DM_PERSISTENT_DEV_FLAG);
  header->dev = number; // the minor number in the kernel's form, which is the same below 256
  if (number > 255) return fail(why, ERROR_LIMIT_EXCEEDED, "the disk has too many partitions and volumes");
  if (!command(control, DM_DEV_CREATE, &create, "create", why)) return false;
  uint64_t device = ((struct dm_ioctl *)(void *)create.at)->dev;
  *major = major(device);
  *minor = minor(device);
  header = begin(&table, number, flags);
  header->target_count = (uint32_t)map->count;
  add_targets(&table, map);
  if (!command(control, DM_TABLE_LOAD, &table, "load", why)) return false;
  begin(&resume, number, flags);
  return command(control, DM_DEV_SUSPEND, &resume, "resume", why);
}
