// A system's fstab: which of its lines add to the image, and what they name.
#pragma once
#include "policy/base.h"

enum fstab_by { FSTAB_UUID, FSTAB_LABEL, FSTAB_PARTITION_UUID, FSTAB_PARTITION_LABEL, FSTAB_VOLUME, FSTAB_NUMBER, FSTAB_UNKNOWN };

struct fstab_entry {
  char *source; // as it stands in the file
  enum fstab_by by;
  char *value;     // VG/LV of a logical volume; a partition's number
  char *path;      // absolute, without dots or a slash at its end
  char *subvolume; // of a btrfs; NULL for the default one
  bool may_fail;
};

struct fstab {
  struct fstab_entry *items;
  size_t count, room;
};

// The lines that mount a file system of the disk at /usr, /var, /opt or /home, or below, in the order of their paths. Swap, the boot partition,
// network, bind and memory file systems and what is not mounted at the start are none of them.
void fstab_read(const char *text, size_t length, struct fstab *fstab);
void fstab_free(struct fstab *fstab);
