#include "disk/volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "disk/guest.h"
#include "mechanism/open.h"

#define SECTOR 512

static bool read_device(void *from, uint64_t offset, void *into, size_t length) {
  const int *fd = from;
  for (char *at = into; length > 0;) {
    ssize_t n = pread(*fd, at, length, (off_t)offset);
    if (n <= 0) return false;
    at += n;
    offset += (size_t)n;
    length -= (size_t)n;
  }
  return true;
}

static struct volume *add(struct volumes *volumes) {
  volumes->items = memory_grow(volumes->items, &volumes->room, volumes->count + 1, sizeof *volumes->items);
  struct volume *volume = &volumes->items[volumes->count++];
  *volume = (struct volume){.fd = -1, .signature = {.type = "-", .driver = "-"}};
  return volume;
}

static bool make(struct volumes *volumes, const struct map *map, bool read_only, char device[static 32], struct failure *why) {
  unsigned major, minor, number = volumes->devices++;
  if (!mapper_make(map, read_only, number, &major, &minor, why)) return false;
  snprintf(device, 32, "/dev/dm-%u", minor);
  return true;
}

static bool examine(struct volumes *volumes, struct volume *volume, struct failure *why) {
  if (!make(volumes, &volume->map, true, volume->device, why)) return false;
  volume->fd = open(volume->device, O_RDONLY | O_CLOEXEC);
  if (volume->fd < 0) return fail(why, ERROR_READER_FAILED, "the guest's device %s can't be opened: %s", volume->device, strerror(errno));
  volume->size = map_sectors(&volume->map) * SECTOR;
  const struct disk_input input = {read_device, &volume->fd, volume->size};
  signature_read(&input, &volume->signature);
  return true;
}

static void map_disk(const struct volumes *volumes, struct map *map, uint64_t offset, uint64_t size) {
  map_add(map, 0, size / SECTOR, "linear", "%u:%u %llu", volumes->major, volumes->minor, (unsigned long long)(offset / SECTOR));
}

static bool add_partitions(const struct partition_table *table, struct volumes *volumes, struct failure *why) {
  for (size_t i = 0; i < table->count; i++) {
    const struct partition *partition = &table->items[i];
    AUTO_BUFFER name = {0};
    if (partition->unread || partition->size < SECTOR) continue;
    struct volume *volume = add(volumes);
    buffer_print(&name, "%u", partition->number);
    volume->name = steal(&name.at);
    volume->partition = partition->number;
    memcpy(volume->partition_uuid, partition->uuid, sizeof volume->partition_uuid);
    memcpy(volume->partition_label, partition->label, sizeof volume->partition_label);
    map_disk(volumes, &volume->map, partition->offset, partition->size);
    if (!examine(volumes, volume, why)) return false;
  }
  return true;
}

static bool add_whole(uint64_t size, struct volumes *volumes, struct failure *why) {
  struct volume *volume = add(volumes);
  volume->name = memory_copy("disk", 4);
  map_disk(volumes, &volume->map, 0, size);
  return examine(volumes, volume, why);
}

bool volumes_find(const char *disk, struct volumes *volumes, struct failure *why) {
  AUTO_FD fd = open(disk, O_RDONLY | O_CLOEXEC);
  struct stat status;
  uint64_t size = 0;
  if (fd < 0 || fstat(fd, &status) != 0 || ioctl(fd, BLKGETSIZE64, &size) != 0)
    return fail(why, ERROR_READER_FAILED, "the guest has no disk: %s", strerror(errno));
  volumes->major = major(status.st_rdev);
  volumes->minor = minor(status.st_rdev);
  const struct disk_input input = {read_device, &fd, size};
  CLEANUP(partitions_free) struct partition_table table = {0};
  if (!partitions_read(&input, &table, why)) return false;
  return table.kind == TABLE_NONE ? add_whole(size, volumes, why) : add_partitions(&table, volumes, why);
}

bool volumes_copy(struct volumes *volumes, const struct volume *volume, char device[static 32], struct failure *why) {
  struct stat scratch, origin;
  CLEANUP(map_free) struct map place = {0}, copy = {0};
  char under[32];
  struct stat place_status;
  if (stat(GUEST_SCRATCH, &scratch) != 0 || stat(volume->device, &origin) != 0)
    return fail(why, ERROR_READER_FAILED, "the guest has no scratch device: %s", strerror(errno));
  // Each copy has a part of its own of the scratch file, which is sparse.
  if (volumes->devices < 1 || volumes->devices > 255) return fail(why, ERROR_LIMIT_EXCEEDED, "the disk has too many partitions and volumes");
  static uint64_t copies;
  if (copies == GUEST_COPIES) return fail(why, ERROR_LIMIT_EXCEEDED, "more than %d of its file systems have a journal to be replayed", GUEST_COPIES);
  map_add(&place, 0, GUEST_COPY / SECTOR, "linear", "%u:%u %llu", major(scratch.st_rdev), minor(scratch.st_rdev),
    (unsigned long long)(copies++ * (GUEST_COPY / SECTOR)));
  if (!make(volumes, &place, false, under, why)) return false;
  if (stat(under, &place_status) != 0) return fail(why, ERROR_READER_FAILED, "the guest has no scratch device: %s", strerror(errno));
  map_add(&copy, 0, volume->size / SECTOR, "snapshot", "%u:%u %u:%u N 8", major(origin.st_rdev), minor(origin.st_rdev), major(place_status.st_rdev),
    minor(place_status.st_rdev));
  return make(volumes, &copy, false, device, why);
}
