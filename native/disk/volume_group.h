// LVM's metadata: the physical volumes that hold a group, and its logical volumes as pieces of them.
// The format: lvm2's lib/format_text/layout.h and lvm.conf(5).
#pragma once
#include "disk/input.h"

#define LVM_UUID 33

struct lvm_header { // of a physical volume
  char uuid[LVM_UUID];
  char *text; // the group's metadata, or NULL where none is kept
  size_t length;
};
enum lvm_result { LVM_NONE, LVM_READ, LVM_WRONG };
enum lvm_result lvm_header_read(const struct disk_input *volume, struct lvm_header *header, struct failure *why) MUST_USE;

struct lvm_stripe {
  size_t physical; // which of the group's physical volumes
  uint64_t offset; // sectors from its start
};

struct lvm_segment {
  uint64_t start, length; // sectors
  uint64_t stripe_size;   // sectors; 0 for a single stripe
  struct lvm_stripe *stripes;
  size_t stripe_count;
};

struct lvm_volume {
  char *name;
  struct lvm_segment *segments;
  size_t segment_count;
  char *type; // of a segment that can't be read, or NULL
};

struct lvm_group {
  char *name;
  uint64_t sequence;
  char (*physical)[LVM_UUID];
  size_t physical_count;
  struct lvm_volume *volumes;
  size_t volume_count;
};
bool lvm_group_read(const char *text, size_t length, struct lvm_group *group, struct failure *why) MUST_USE;
void lvm_group_free(struct lvm_group *group);
