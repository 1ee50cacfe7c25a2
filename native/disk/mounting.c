#include "disk/mounting.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/klog.h>
#include <sys/mount.h>

#define LOG_ROOM ((size_t)64 << 10)
#define LOG_READ_ALL 3

// The last line that the guest's kernel wrote about a device, for the message.
static void last_words(const char *device, struct buffer *words) {
  AUTO_FREE char *log = memory_get(LOG_ROOM, 1);
  const char *name = strrchr(device, '/') + 1;
  int length = klogctl(LOG_READ_ALL, log, (int)LOG_ROOM - 1);
  const char *found = NULL;
  if (length <= 0) return;
  log[length] = '\0';
  for (const char *at = log; (at = strstr(at, name)) != NULL; at++) found = at;
  if (found == NULL) return;
  found += strcspn(found, " \n");
  size_t rest = strcspn(found, "\n");
  while (rest > 0 && (*found == ' ' || *found == ')' || *found == ':')) found++, rest--;
  buffer_add(words, found, rest);
}

static bool refused(const struct volume *volume, const char *device, int error, struct failure *why) {
  AUTO_BUFFER words = {0};
  last_words(device, &words);
  if (words.length == 0) buffer_text(&words, strerror(error));
  if (error == ENOMEM) return fail(why, ERROR_LIMIT_EXCEEDED, "the %s in %s needs more memory than the reader has", volume->signature.type, volume->name);
  bool newer = strstr(words.at, "nknown") != NULL || strstr(words.at, "unsupported") != NULL;
  return fail(why, newer ? ERROR_DISK_UNSUPPORTED : ERROR_DISK_INVALID, "the %s in %s can't be mounted: %s", volume->signature.type, volume->name, words.at);
}

static int try_mount(const char *device, const struct volume *volume, const char *options, const char *directory) {
  return mount(device, directory, volume->signature.driver, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, options) == 0 ? 0 : errno;
}

bool volume_mount(struct volumes *volumes, struct volume *volume, const char *subvolume, const char *directory, bool *replayed, struct failure *why) {
  AUTO_BUFFER options = {0};
  buffer_text(&options, strcmp(volume->signature.type, "xfs") == 0 ? "nouuid" : "");
  if (subvolume != NULL) buffer_print(&options, "subvol=/%s", subvolume);
  int error = try_mount(volume->device, volume, options.at, directory);
  *replayed = volume->copied;
  // A device that takes no writes: btrfs calls that an input/output error.
  if (error != EROFS && !(error == EIO && volume->signature.logged && !volume->copied)) return error == 0 || refused(volume, volume->device, error, why);
  // The kernel mounts no file system whose journal it can't replay, and the disk itself is never written.
  char copy[32];
  if (!volumes_copy(volumes, volume, copy, why)) return false;
  error = try_mount(copy, volume, options.at, directory);
  if (error != 0) return refused(volume, copy, error, why);
  memcpy(volume->device, copy, sizeof copy);
  *replayed = volume->copied = true;
  return true;
}
