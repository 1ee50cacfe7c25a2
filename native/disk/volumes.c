#include "disk/volumes.h"

#include <stdlib.h>

#include "disk/volume_group.h"

static struct volume *add(struct volumes *volumes) {
  volumes->items = memory_grow(volumes->items, &volumes->room, volumes->count + 1, sizeof *volumes->items);
  struct volume *volume = &volumes->items[volumes->count++];
  *volume = (struct volume){.signature = {.type = "-", .driver = "-"}};
  return volume;
}

static void examine(const struct volumes *volumes, struct volume *volume) {
  struct mapped mapped = {&volume->map, &volumes->disk};
  const struct disk_input input = map_input(&mapped);
  signature_read(&input, &volume->signature);
  if (volume->signature.contents == CONTENTS_UNSUPPORTED) volume->obstacle = volume->signature.obstacle;
}

static void map_disk(struct map *map, uint64_t offset, uint64_t size) {
  const uint64_t start = offset / SECTOR;
  map_add(map, size / SECTOR, 0, &start, 1);
}

static void add_partitions(const struct partition_table *table, struct volumes *volumes) {
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
    map_disk(&volume->map, partition->offset, partition->size);
    examine(volumes, volume);
  }
}

static void add_whole(struct volumes *volumes) {
  struct volume *volume = add(volumes);
  volume->name = memory_copy("disk", 4);
  map_disk(&volume->map, 0, volumes->disk.size);
  examine(volumes, volume);
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
    const struct volume *volume = &volumes->items[i];
    if (volume->signature.contents != CONTENTS_VOLUMES) continue;
    struct mapped mapped = {&volume->map, &volumes->disk};
    const struct disk_input input = map_input(&mapped);
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

enum mapping { MAPPING_DONE, MAPPING_ELSEWHERE, MAPPING_WRONG };

// A row is a chunk of each stripe. What is read is never behind the end of a physical volume, and a volume no larger than its disk.
static enum mapping map_segment(const struct volumes *volumes, const struct physicals *physicals, const struct lvm_group *group, const struct lvm_segment *segment, struct map *map) {
  AUTO_FREE uint64_t *stripes = memory_get(segment->stripe_count, sizeof *stripes);
  uint64_t each = segment->length / segment->stripe_count, disk = volumes->disk.size / SECTOR;
  if (segment->length > disk - map_size(map) / SECTOR || (segment->stripe_count > 1 && segment->length % (segment->stripe_count * segment->stripe_size) != 0)) return MAPPING_WRONG;
  for (size_t i = 0; i < segment->stripe_count; i++) {
    const struct lvm_stripe *stripe = &segment->stripes[i];
    const struct volume *physical = physical_of(volumes, physicals, group->physical[stripe->physical]);
    if (physical == NULL) return MAPPING_ELSEWHERE;
    uint64_t size = map_size(&physical->map) / SECTOR;
    if (stripe->offset > size || each > size - stripe->offset) return MAPPING_WRONG;
    // A physical volume is a partition, or the disk: one piece.
    stripes[i] = physical->map.items[0].stripes[0] + stripe->offset;
  }
  map_add(map, segment->length, segment->stripe_size, stripes, segment->stripe_count);
  return MAPPING_DONE;
}

static enum mapping map_volume(const struct volumes *volumes, const struct physicals *physicals, const struct lvm_group *group, const struct lvm_volume *logical, struct map *map) {
  for (size_t i = 0; i < logical->segment_count; i++) {
    enum mapping mapping = map_segment(volumes, physicals, group, &logical->segments[i], map);
    if (mapping != MAPPING_DONE) return mapping;
  }
  return MAPPING_DONE;
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
  CLEANUP(map_free) struct map map = {0};
  enum mapping mapping = logical->type != NULL ? MAPPING_ELSEWHERE : map_volume(volumes, physicals, group, logical, &map);
  if (mapping == MAPPING_WRONG) return fail(why, ERROR_DISK_INVALID, "%s/%s lies outside of its physical volumes", group->name, logical->name);
  struct volume *volume = add(volumes);
  AUTO_BUFFER name = {0};
  buffer_print(&name, "%s/%s", group->name, logical->name);
  volume->name = steal(&name.at);
  if (logical->type != NULL) volume->obstacle = obstacle_of(logical->type);
  else if (mapping == MAPPING_ELSEWHERE) volume->obstacle = "a volume of LVM that another disk holds a part of";
  if (volume->obstacle != NULL) return true;
  volume->map = map;
  map = (struct map){0};
  examine(volumes, volume);
  return true;
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

bool volumes_find(struct volumes *volumes, struct failure *why) {
  CLEANUP(partitions_free) struct partition_table table = {0};
  if (!partitions_read(&volumes->disk, &table, why)) return false;
  if (table.kind == TABLE_NONE) add_whole(volumes);
  else add_partitions(&table, volumes);
  return add_volumes(volumes, why);
}

void volumes_free(struct volumes *volumes) {
  for (size_t i = 0; i < volumes->count; i++) {
    free(volumes->items[i].name);
    map_free(&volumes->items[i].map);
  }
  free(volumes->items);
  *volumes = (struct volumes){.count = 0};
}
