#include "disk/mounting.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "disk/kernel_log.h"

#define RECORD 8192 // bytes of the longest that the kernel writes

// What the kernel wrote last about a device since the log was set to its end, for the message.
static void last_words(const struct volumes *volumes, const char *device, struct buffer *words) {
  char record[RECORD + 1], name[DEVICE_PATH];
  device_name(volumes->devices, device, name);
  for (;;) {
    ssize_t length = read(volumes->log, record, RECORD);
    if (length < 0 && errno == EPIPE) continue; // others were thrown away meanwhile
    if (length <= 0) return;
    record[length] = '\0';
    const char *found = kernel_log_words(record, name);
    if (found == NULL) continue;
    words->length = 0;
    buffer_text(words, found);
  }
}

static bool refused(const struct volumes *volumes, const struct volume *volume, const char *device, int error, struct failure *why) {
  AUTO_BUFFER words = {0};
  if (error == ENODEV) return fail(why, ERROR_DISK_UNSUPPORTED, "%s is %s, which the kernel that reads it does not know", volume->name, volume->signature.type);
  last_words(volumes, device, &words);
  if (words.length == 0) buffer_text(&words, strerror(error));
  if (error == ENOMEM) return fail(why, ERROR_LIMIT_EXCEEDED, "the %s in %s needs more memory than the reader has", volume->signature.type, volume->name);
  bool newer = strstr(words.at, "nknown") != NULL || strstr(words.at, "unsupported") != NULL;
  return fail(why, newer ? ERROR_DISK_UNSUPPORTED : ERROR_DISK_INVALID, "the %s in %s can't be mounted: %s", volume->signature.type, volume->name, words.at);
}

static int try_mount(const struct volumes *volumes, const char *device, const struct volume *volume, const char *options, const char *directory) {
  // What was written before is of another device that had its name.
  if (volumes->log >= 0) lseek(volumes->log, 0, SEEK_END);
  return mount(device, directory, volume->signature.driver, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, options) == 0 ? 0 : errno;
}

// The file system may be one whose copy is mounted already; and may ask for the whole machine's end at its first error.
static const char *options_of(const char *driver) {
  return strcmp(driver, "xfs") == 0 ? "nouuid" : strcmp(driver, "ext4") == 0 ? "errors=remount-ro" : "";
}

bool volume_mount(struct volumes *volumes, struct volume *volume, const char *subvolume, const char *directory, bool *replayed, struct failure *why) {
  AUTO_BUFFER options = {0};
  // It would be further options of the mount.
  if (subvolume != NULL && strchr(subvolume, ',') != NULL) return fail(why, ERROR_DISK_UNSUPPORTED, "%s has a comma in a subvolume's name", volume->name);
  buffer_text(&options, options_of(volume->signature.driver));
  if (subvolume != NULL) buffer_print(&options, "%ssubvol=/%s", options.length > 0 ? "," : "", subvolume);
  if (volume->device[0] == '\0' && !device_make(volumes->devices, &volume->map, volume->device, why)) return false;
  int error = try_mount(volumes, volume->device, volume, options.at, directory);
  *replayed = volume->copied;
  // A device that takes no writes: btrfs calls that an input/output error.
  if (error != EROFS && !(error == EIO && volume->signature.logged && !volume->copied)) return error == 0 || refused(volumes, volume, volume->device, error, why);
  // The kernel mounts no file system whose journal it can't replay, and the disk itself is never written.
  if (!device_copy(volumes->devices, &volume->map, volume->device, why)) return false;
  error = try_mount(volumes, volume->device, volume, options.at, directory);
  if (error != 0) return refused(volumes, volume, volume->device, error, why);
  *replayed = volume->copied = true;
  return true;
}
