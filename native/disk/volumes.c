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
#include "disk/volume_group.h"
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
  if (volume->signature.contents == CONTENTS_UNSUPPORTED) volume->obstacle = volume->signature.obstacle;
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

// --- logical volumes -------------------------------------------------------------------------------------------------------------

struct physical { // a volume that holds a part of a group
  size_t volume;
  struct lvm_header header;
};

struct physicals {
  struct physical *items;
  size_t count, room;
};

static void physicals_free(struct physicals *physicals) {
  for (size_t i = 0; i < physicals->count; i++) free(physicals->items[i].header.text);
  free(physicals->items);
}

static bool find_physicals(const struct volumes *volumes, struct physicals *physicals, struct failure *why) {
  for (size_t i = 0; i < volumes->count; i++) {
    struct volume *volume = &volumes->items[i];
    if (volume->signature.contents != CONTENTS_VOLUMES) continue;
    const struct disk_input input = {read_device, &volume->fd, volume->size};
    struct physical physical = {.volume = i};
    if (lvm_header_read(&input, &physical.header, why) == LVM_WRONG) return false;
    physicals->items = memory_grow(physicals->items, &physicals->room, physicals->count + 1, sizeof physical);
    physicals->items[physicals->count++] = physical;
  }
  return true;
}

static const struct volume *physical_of(const struct volumes *volumes, const struct physicals *physicals, const char *uuid) {
  for (size_t i = 0; i < physicals->count; i++)
    if (strcmp(physicals->items[i].header.uuid, uuid) == 0) return &volumes->items[physicals->items[i].volume];
  return NULL;
}

// The pieces of a logical volume; false when a part of it is on another disk.
static bool map_volume(const struct volumes *volumes, const struct physicals *physicals, const struct lvm_group *group, const struct lvm_volume *logical,
  struct map *map) {
  for (size_t i = 0; i < logical->segment_count; i++) {
    const struct lvm_segment *segment = &logical->segments[i];
    AUTO_BUFFER arguments = {0};
    if (segment->stripe_count > 1) buffer_print(&arguments, "%zu %llu ", segment->stripe_count, (unsigned long long)segment->stripe_size);
    for (size_t k = 0; k < segment->stripe_count; k++) {
      const struct volume *physical = physical_of(volumes, physicals, group->physical[segment->stripes[k].physical]);
      struct stat status;
      if (physical == NULL || stat(physical->device, &status) != 0) return false;
      buffer_print(&arguments, "%s%u:%u %llu", k == 0 ? "" : " ", major(status.st_rdev), minor(status.st_rdev), (unsigned long long)segment->stripes[k].offset);
    }
    map_add(map, segment->start, segment->length, segment->stripe_count > 1 ? "striped" : "linear", "%s", arguments.at);
  }
  return true;
}

static const char *obstacle_of(const char *type) {
  if (strncmp(type, "thin", 4) == 0) return "a thin volume of LVM";
  if (strncmp(type, "raid", 4) == 0 || strcmp(type, "mirror") == 0) return "a RAID or mirror of LVM";
  if (strncmp(type, "cache", 5) == 0 || strcmp(type, "writecache") == 0) return "a cached volume of LVM";
  if (strcmp(type, "snapshot") == 0) return "a snapshot of LVM";
  return "a volume of LVM that is neither linear nor striped";
}

static bool add_logical(struct volumes *volumes, const struct physicals *physicals, const struct lvm_group *group, const struct lvm_volume *logical,
  struct failure *why) {
  AUTO_BUFFER name = {0};
  buffer_print(&name, "%s/%s", group->name, logical->name);
  CLEANUP(map_free) struct map map = {0};
  bool whole = logical->type != NULL || map_volume(volumes, physicals, group, logical, &map);
  struct volume *volume = add(volumes);
  volume->name = steal(&name.at);
  if (logical->type != NULL) volume->obstacle = obstacle_of(logical->type);
  else if (!whole) volume->obstacle = "a volume of LVM that another disk holds a part of";
  if (volume->obstacle != NULL) return true;
  volume->map = map;
  map = (struct map){0};
  return examine(volumes, volume, why);
}

// The newest metadata of each group: every physical volume may keep a copy.
static bool add_groups(struct volumes *volumes, const struct physicals *physicals, struct failure *why) {
  AUTO_WORDS done = {0};
  for (size_t i = 0; i < physicals->count; i++) {
    CLEANUP(lvm_group_free) struct lvm_group group = {0};
    if (physicals->items[i].header.text == NULL) continue;
    if (!lvm_group_read(physicals->items[i].header.text, physicals->items[i].header.length, &group, why)) return false;
    if (words_hold(&done, group.name)) continue;
    words_add_text(&done, group.name);
    for (size_t k = i + 1; k < physicals->count; k++) {
      struct lvm_group other = {0};
      const struct lvm_header *header = &physicals->items[k].header;
      if (header->text == NULL) continue;
      if (lvm_group_read(header->text, header->length, &other, why) && strcmp(other.name, group.name) == 0 && other.sequence > group.sequence) {
        lvm_group_free(&group);
        group = other;
      } else lvm_group_free(&other);
    }
    for (size_t k = 0; k < group.volume_count; k++)
      if (!add_logical(volumes, physicals, &group, &group.volumes[k], why)) return false;
  }
  return true;
}

static bool add_volumes(struct volumes *volumes, struct failure *why) {
  CLEANUP(physicals_free) struct physicals physicals = {0};
  return find_physicals(volumes, &physicals, why) && add_groups(volumes, &physicals, why);
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
  return (table.kind == TABLE_NONE ? add_whole(size, volumes, why) : add_partitions(&table, volumes, why)) && add_volumes(volumes, why);
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
