// What lies in a partition or volume, by the marks that its format is known by.
#pragma once
#include "disk/input.h"

enum contents {
  CONTENTS_UNKNOWN,
  CONTENTS_READABLE,    // a file system that can hold a system
  CONTENTS_VOLUMES,     // a physical volume of LVM
  CONTENTS_OTHER,       // swap, FAT and the like: none holds a system
  CONTENTS_UNSUPPORTED, // may hold one, out of reach
};

struct signature {
  enum contents contents;
  const char *type;            // as the table of file systems calls it: ext4, LVM2_member
  const char *driver;          // what the kernel mounts it as
  const char *obstacle;        // of CONTENTS_UNSUPPORTED, in words
  bool logged; // a btrfs with a log that is to be replayed
  char label[257], uuid[DISK_UUID];
};

void signature_read(const struct disk_input *volume, struct signature *signature);
