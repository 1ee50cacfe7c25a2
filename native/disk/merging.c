#include "disk/merging.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "disk/fstab.h"
#include "disk/mounting.h"
#include "disk/reader.h"
#include "disk/tell.h"
#include "disk/tree.h"
#include "mechanism/open.h"

#define FSTAB_MOST ((size_t)1 << 20)

void tell_replayed(struct volume *volume) {
  AUTO_BUFFER line = {0};
  if (!volume->copied || volume->told) return;
  volume->told = true;
  buffer_text(&line, "replayed");
  tell_word(&line, volume->name);
  reader_tell(&line);
}

static bool is_named(const struct volume *volume, const struct fstab_entry *entry) {
  uint64_t number;
  switch (entry->by) {
    case FSTAB_UUID: return strcasecmp(volume->signature.uuid, entry->value) == 0;
    case FSTAB_LABEL: return volume->signature.label[0] != '\0' && strcmp(volume->signature.label, entry->value) == 0;
    case FSTAB_PARTITION_UUID: return strcasecmp(volume->partition_uuid, entry->value) == 0;
    case FSTAB_PARTITION_LABEL: return volume->partition_label[0] != '\0' && strcmp(volume->partition_label, entry->value) == 0;
    case FSTAB_VOLUME: return strcmp(volume->name, entry->value) == 0;
    case FSTAB_NUMBER:
      return volume->partition > 0 && number_parse(entry->value, strlen(entry->value), 1024, false, &number) && number == volume->partition;
    case FSTAB_UNKNOWN: break;
  }
  return false;
}

static bool find(const struct volumes *volumes, const struct fstab_entry *entry, struct volume **found, struct failure *why) {
  *found = NULL;
  for (size_t i = 0; i < volumes->count; i++) {
    struct volume *volume = &volumes->items[i];
    if (!is_named(volume, entry)) continue;
    if (*found != NULL)
      return fail(why, ERROR_DISK_INVALID, "fstab mounts %s at %s, but %s and %s are both that", entry->source, entry->path, (*found)->name, volume->name);
    *found = volume;
  }
  if (*found == NULL) {
    if (entry->may_fail) return true;
    return fail(why, ERROR_DISK_UNSUPPORTED, "fstab mounts %s at %s, which is not on this disk", entry->source, entry->path);
  }
  if ((*found)->obstacle != NULL) return fail(why, ERROR_DISK_UNSUPPORTED, "fstab mounts %s at %s, but it is %s", entry->source, entry->path, (*found)->obstacle);
  return (*found)->signature.contents == CONTENTS_READABLE ||
         fail(why, ERROR_DISK_UNSUPPORTED, "fstab mounts %s at %s, but there is no file system known in it", entry->source, entry->path);
}

static bool mount_entry(struct volumes *volumes, struct volume *volume, const struct fstab_entry *entry, struct failure *why) {
  AUTO_FD root = open(READER_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
  // A link there would lead the mount elsewhere than fstab's reader thinks.
  AUTO_FD place = root < 0 ? -1 : open_resolved(root, entry->path + 1, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
  AUTO_BUFFER at = {0}, line = {0};
  bool replayed;
  if (place < 0) return fail(why, ERROR_DISK_INVALID, "fstab mounts %s at %s, which can't be reached: %s", entry->source, entry->path, strerror(errno));
  buffer_print(&at, "/proc/self/fd/%d", place);
  if (!volume_mount(volumes, volume, entry->subvolume, at.at, &replayed, why)) return false;
  buffer_text(&line, "merged");
  tell_word(&line, entry->path);
  tell_word(&line, volume->name);
  tell_word(&line, volume->signature.type);
  reader_tell(&line);
  tell_replayed(volume);
  return true;
}

bool merge_fstab(struct volumes *volumes, const struct candidate *root, struct failure *why) {
  AUTO_BUFFER text = {0};
  CLEANUP(fstab_free) struct fstab fstab = {0};
  errno = 0;
  if (!tree_read(READER_ROOT, "etc/fstab", FSTAB_MOST, true, &text)) {
    if (errno == EFBIG) return fail(why, ERROR_LIMIT_EXCEEDED, "etc/fstab of %s has more than %zu bytes", root->volume->name, FSTAB_MOST);
    // The kernel's words for an inode that is damaged; everything else means that there is no such file.
    bool damaged = errno == EIO || errno == EUCLEAN || errno == EBADMSG;
    return !damaged || fail(why, ERROR_DISK_INVALID, "etc/fstab of %s can't be read: %s", root->volume->name, strerror(errno));
  }
  fstab_read(text.at, text.length, &fstab);
  for (size_t i = 0; i < fstab.count; i++) {
    const struct fstab_entry *entry = &fstab.items[i];
    struct volume *volume;
    if (!find(volumes, entry, &volume, why)) return false;
    // A volume that is the root already shows the same files there, unless another subvolume is meant.
    if (volume == NULL || (volume == root->volume && entry->subvolume == NULL)) continue;
    if (!mount_entry(volumes, volume, entry, why)) return false;
  }
  return true;
}
