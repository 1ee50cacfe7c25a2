#include "disk/candidates.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/mounting.h"
#include "disk/reader.h"
#include "disk/tell.h"
#include "disk/tree.h"
#include "mechanism/open.h"

#define SUBVOLUME_INODE 256 // of each subvolume's root directory
#define SUBVOLUME_DEPTH 2   // below lie the snapshots that snapper and timeshift make
#define MOST_CANDIDATES 64

struct candidates {
  struct candidate items[MOST_CANDIDATES];
  size_t count;
};

void candidate_name(const struct candidate *candidate, struct buffer *name) {
  buffer_text(name, candidate->volume->name);
  if (candidate->subvolume != NULL) buffer_print(name, "@%s", candidate->subvolume);
}

// os-release and /bin may be links into /usr, which another partition may hold.
static bool is_root(const char *directory) {
  return (tree_has(directory, "etc/os-release") || tree_has(directory, "usr/lib/os-release")) &&
         (tree_has(directory, "bin") || tree_has(directory, "usr/bin"));
}

static void add(struct candidates *candidates, struct volume *volume, const char *subvolume, const char *directory) {
  if (candidates->count == MOST_CANDIDATES) return;
  struct candidate *candidate = &candidates->items[candidates->count++];
  *candidate = (struct candidate){volume, subvolume == NULL ? NULL : memory_copy(subvolume, strlen(subvolume))};
  AUTO_BUFFER line = {0}, name = {0}, title = {0};
  candidate_name(candidate, &name);
  tree_system(directory, "PRETTY_NAME", &title);
  buffer_text(&line, "found");
  tell_word(&line, name.at);
  tell_word(&line, volume->signature.type);
  tell_word(&line, volume->signature.label);
  tell_word(&line, volume->signature.uuid);
  tell_rest(&line, title.at);
  reader_tell(&line);
}

// Subvolumes that hold a system, where the default one does not: named @, root and the like by those who make them.
static void add_subvolumes(struct candidates *candidates, struct volume *volume, int directory, const char *above, unsigned depth) {
  AUTO_WORDS names = {0};
  if (!names_in(directory, true, &names)) return;
  for (size_t i = 0; i < names.count && i < 4096; i++) {
    struct stat status;
    AUTO_FD fd = openat(directory, names.items[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) continue;
    AUTO_BUFFER path = {0}, here = {0};
    buffer_print(&path, "%s%s%s", above, above[0] == '\0' ? "" : "/", names.items[i]);
    buffer_print(&here, "/proc/self/fd/%d", fd);
    if (status.st_ino == SUBVOLUME_INODE && is_root(here.at)) add(candidates, volume, path.at, here.at);
    else if (depth < SUBVOLUME_DEPTH) add_subvolumes(candidates, volume, fd, path.at, depth + 1);
  }
}

static bool examine(struct volumes *volumes, struct volume *volume, struct candidates *candidates, struct failure *why) {
  bool replayed;
  if (!volume_mount(volumes, volume, NULL, READER_ROOT, &replayed, why)) return false;
  if (is_root(READER_ROOT)) add(candidates, volume, NULL, READER_ROOT);
  else if (strcmp(volume->signature.type, "btrfs") == 0) {
    AUTO_FD fd = open(READER_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) add_subvolumes(candidates, volume, fd, "", 1);
  }
  return umount2(READER_ROOT, MNT_DETACH) == 0 || fail(why, ERROR_READER_FAILED, "the reader can't unmount %s", volume->name);
}

// What to say when nothing holds a system: what was out of reach first, since the system may be there.
static bool no_candidate(const struct volumes *volumes, const struct failure *broken, struct failure *why) {
  for (size_t i = 0; i < volumes->count; i++) {
    const struct volume *volume = &volumes->items[i];
    if (volume->obstacle != NULL) return fail(why, ERROR_DISK_UNSUPPORTED, "%s is %s", volume->name, volume->obstacle);
  }
  if (broken->what[0] != '\0') {
    *why = *broken;
    return false;
  }
  for (size_t i = 0; i < volumes->count; i++) {
    const struct volume *volume = &volumes->items[i];
    if (volume->obstacle != NULL) continue;
    if (volume->signature.contents == CONTENTS_UNKNOWN && volumes->count == 1 && volume->partition == 0)
      return fail(why, ERROR_DISK_INVALID, "it has neither a partition table nor a file system that is known");
    if (volume->signature.contents == CONTENTS_UNKNOWN) return fail(why, ERROR_DISK_UNSUPPORTED, "what lies in %s is unknown", volume->name);
  }
  return fail(why, ERROR_DISK_NO_SYSTEM, "none of its %zu partitions and volumes holds a system", volumes->count);
}

static bool no_such(const struct volumes *volumes, const char *name, struct failure *why) {
  for (size_t i = 0; i < volumes->count; i++) {
    const struct volume *volume = &volumes->items[i];
    if (strcmp(volume->name, name) != 0) continue;
    if (volume->obstacle != NULL) return fail(why, ERROR_DISK_UNSUPPORTED, "%s is %s", name, volume->obstacle);
    return fail(why, ERROR_DISK_NO_SYSTEM, "%s holds no system", name);
  }
  return fail(why, ERROR_DISK_NO_SYSTEM, "the disk has no %s that holds a system", name);
}

// A subvolume that was named need not be one that is looked for.
static bool examine_named(struct volumes *volumes, const char *name, struct candidates *candidates) {
  const char *at = strchr(name, '@');
  struct failure ignored = {0};
  bool replayed;
  if (at == NULL) return false;
  for (size_t i = 0; i < volumes->count; i++) {
    struct volume *volume = &volumes->items[i];
    if (strcmp(volume->signature.type, "btrfs") != 0 || strlen(volume->name) != (size_t)(at - name) || strncmp(volume->name, name, (size_t)(at - name)) != 0)
      continue;
    if (!volume_mount(volumes, volume, at + 1, READER_ROOT, &replayed, &ignored)) return false;
    bool root = is_root(READER_ROOT);
    if (root) add(candidates, volume, at + 1, READER_ROOT);
    return umount2(READER_ROOT, MNT_DETACH) == 0 && root;
  }
  return false;
}

bool candidate_choose(struct volumes *volumes, const char *name, struct candidate *chosen, struct failure *why) {
  struct candidates candidates = {.count = 0};
  struct failure broken = {0};
  for (size_t i = 0; i < volumes->count; i++) {
    struct volume *volume = &volumes->items[i];
    struct failure each = {0};
    if (volume->signature.contents != CONTENTS_READABLE || volume->obstacle != NULL || examine(volumes, volume, &candidates, &each)) continue;
    if (each.code == ERROR_READER_FAILED || (name != NULL && strcmp(volume->name, name) == 0)) {
      *why = each;
      return false;
    }
    if (broken.what[0] == '\0') broken = each;
  }
  if (name == NULL && candidates.count > 1)
    return fail(why, ERROR_DISK_AMBIGUOUS, "%zu of its file systems hold a system", candidates.count);
  if (name == NULL && candidates.count == 0) return no_candidate(volumes, &broken, why);
  for (size_t round = 0; round < 2; round++) {
    for (size_t i = 0; i < candidates.count; i++) {
      AUTO_BUFFER each = {0};
      candidate_name(&candidates.items[i], &each);
      if (name != NULL && strcmp(each.at, name) != 0) continue;
      *chosen = candidates.items[i];
      return true;
    }
    if (!examine_named(volumes, name, &candidates)) break;
  }
  return no_such(volumes, name, why);
}
