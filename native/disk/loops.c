#include "disk/loops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mechanism/open.h"

#define TRIES 64 // of getting a device that somebody else gets at the same time
#define PIECE ((size_t)1 << 20)
#define BLOCK ((size_t)4096)

struct devices {
  struct loops loops;
  unsigned count;  // made so far
  uint64_t copied; // bytes
};

void loops_open(const struct loops *loops, struct devices **devices) {
  *devices = memory_get(1, sizeof **devices);
  (*devices)->loops = *loops;
}

// The device stays open, and so there, as long as this process is.
static bool make(struct devices *devices, const struct loop_config *config, char path[static DEVICE_PATH], struct failure *why) {
  bool read_only = (config->info.lo_flags & LO_FLAGS_READ_ONLY) != 0;
  if (devices->count == MOST_DEVICES) return devices_spent(why);
  devices->count++;
  for (unsigned i = 0; i < TRIES; i++) {
    char name[DEVICE_PATH];
    int number = ioctl(devices->loops.control, LOOP_CTL_GET_FREE);
    if (number < 0) return fail(why, ERROR_READER_FAILED, "there is no free loop device: %s", strerror(errno));
    snprintf(name, sizeof name, "loop%d", number);
    AUTO_FD fd = openat(devices->loops.nodes, name, (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return fail(why, ERROR_READER_FAILED, "/dev/%s can't be opened: %s", name, strerror(errno));
    if (ioctl(fd, LOOP_CONFIGURE, config) == 0) {
      snprintf(path, DEVICE_PATH, "/proc/self/fd/%d", steal_fd(&fd));
      return true;
    }
    if (errno != EBUSY) return fail(why, ERROR_READER_FAILED, "/dev/%s can't be set up: %s", name, strerror(errno));
  }
  return fail(why, ERROR_READER_FAILED, "every loop device that is free is taken by somebody else");
}

// --- files of a volume's pieces ------------------------------------------------------------------------------------------------

static bool no_room(struct failure *why) {
  return fail(why, errno == ENOSPC || errno == EDQUOT ? ERROR_STORAGE_FULL : ERROR_READER_FAILED, "no copy of a volume can be made in the scratch directory: %s", strerror(errno));
}

static bool is_zero(const char *at, size_t length) {
  return length == 0 || (at[0] == 0 && memcmp(at, at + 1, length - 1) == 0);
}

// What is zero stays a hole. Volumes that share no byte, and a copy of each for its journal, have at most the disk's bytes twice.
static bool put(struct devices *devices, int to, uint64_t offset, const char *at, size_t length, struct failure *why) {
  for (size_t done = 0; done < length;) {
    size_t n = length - done < BLOCK ? length - done : BLOCK;
    bool copied = !is_zero(at + done, n);
    if (copied && (devices->copied += n) > devices->loops.disk_size * 2) return fail(why, ERROR_DISK_INVALID, "its volumes lie in each other");
    if (copied && pwrite(to, at + done, n, (off_t)(offset + done)) != (ssize_t)n) return no_room(why);
    done += n;
  }
  return true;
}

static bool copy_run(struct devices *devices, uint64_t place, int to, uint64_t offset, uint64_t length, char *piece, struct failure *why) {
  int from = devices->loops.disk;
  for (uint64_t done = 0; done < length;) {
    // Not even looked at is what the disk's file has no blocks for.
    off_t data = lseek(from, (off_t)(place + done), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return true;
    if (data > 0 && (uint64_t)data > place + done) {
      done = (uint64_t)data - place;
      continue;
    }
    size_t n = length - done < PIECE ? (size_t)(length - done) : PIECE;
    if (!read_file(&from, place + done, piece, n)) return fail(why, ERROR_DISK_INVALID, "the disk can't be read: %s", strerror(errno));
    if (!put(devices, to, offset + done, piece, n, why)) return false;
    done += n;
  }
  return true;
}

static bool put_together(struct devices *devices, const struct map *map, int *file, struct failure *why) {
  AUTO_FREE char *piece = memory_get(PIECE, 1);
  uint64_t size = map_size(map);
  *file = openat(devices->loops.scratch, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (*file < 0 || ftruncate(*file, (off_t)size) != 0) return no_room(why);
  for (uint64_t offset = 0; offset < size;) {
    struct map_run run = map_find(map, offset);
    if (!copy_run(devices, run.place, *file, offset, run.length, piece, why)) return false;
    offset += run.length;
  }
  return true;
}

// -------------------------------------------------------------------------------------------------------------------------------

bool device_make(struct devices *devices, const struct map *map, char path[static DEVICE_PATH], struct failure *why) {
  struct loop_config config = {.fd = (uint32_t)devices->loops.disk, .info = {.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR}};
  AUTO_FD file = -1;
  struct map_run run = map_find(map, 0);
  if (run.length == map_size(map)) {
    config.info.lo_offset = run.place;
    config.info.lo_sizelimit = run.length;
  } else {
    if (!put_together(devices, map, &file, why)) return false;
    config.fd = (uint32_t)file;
  }
  return make(devices, &config, path, why);
}

bool device_copy(struct devices *devices, const struct map *map, char path[static DEVICE_PATH], struct failure *why) {
  AUTO_FD file = -1;
  if (!put_together(devices, map, &file, why)) return false;
  const struct loop_config config = {.fd = (uint32_t)file, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
  return make(devices, &config, path, why);
}

void device_name(const struct devices *devices, const char *path, char name[static DEVICE_PATH]) {
  struct stat status;
  (void)devices;
  snprintf(name, DEVICE_PATH, "loop%u", stat(path, &status) == 0 ? minor(status.st_rdev) : 0);
}
