// The disk's partitions and logical volumes, and what lies in each.
#pragma once
#include "disk/devices.h"
#include "disk/partitions.h"
#include "disk/signature.h"

struct volume {
  char *name;         // as candidates are listed: 1, 5, VG/LV; disk for one without partitions
  unsigned partition; // its number, or 0
  char partition_uuid[DISK_UUID], partition_label[PARTITION_LABEL];
  struct map map; // of the pieces of the disk
  struct signature signature;
  char device[DEVICE_PATH]; // of the kernel, once it was needed
  bool copied;              // the device is a throw-away copy, on which a journal was replayed
  bool told;                // that it was
  const char *obstacle;     // why it can't be read, in words
};

struct volumes {
  struct disk_input disk;
  struct devices *devices;
  int log; // the kernel's, or -1 where it can't be read
  struct volume *items;
  size_t count, room;
};

bool volumes_find(struct volumes *volumes, struct failure *why) MUST_USE;
void volumes_free(struct volumes *volumes);
