// The disk's partitions and logical volumes as block devices of the guest, and what lies in each.
#pragma once
#include "disk/mapper.h"
#include "disk/partitions.h"
#include "disk/signature.h"

struct volume {
  char *name;         // as candidates are listed: 1, 5, VG/LV; disk for one without partitions
  unsigned partition; // its number, or 0
  char partition_uuid[DISK_UUID], partition_label[PARTITION_LABEL];
  struct map map; // of the pieces of the disk
  uint64_t size;
  char device[32]; // its read-only device
  int fd;
  struct signature signature;
  bool copied;          // the device is a throw-away copy, on which a journal was replayed
  bool told;            // that it was
  const char *obstacle; // why it can't be read, in words
};

struct volumes {
  struct volume *items;
  size_t count, room;
  unsigned devices; // made so far
  unsigned major, minor; // of the disk itself
};

bool volumes_find(const char *disk, struct volumes *volumes, struct failure *why) MUST_USE;
// A device on top of a volume that takes writes and keeps them in a throw-away place, so that a journal can be replayed.
bool volumes_copy(struct volumes *volumes, const struct volume *volume, char device[static 32], struct failure *why) MUST_USE;
