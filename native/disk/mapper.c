#include "disk/mapper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "disk/guest.h"
#include "mechanism/open.h"

_Static_assert(MOST_DEVICES <= 256, "minor numbers are the same in both of the kernel's forms");

struct devices {
  unsigned count;        // made so far: the next one's minor number
  unsigned copies;       // of which each has a part of the scratch device
  unsigned major, minor; // of the disk itself
};

static bool load(const char *release, const char *name, struct failure *why) {
  AUTO_BUFFER path = {0};
  buffer_print(&path, "/modules/%s/%s.ko", release, name);
  AUTO_FD fd = open(path.at, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(why, ERROR_TOOL_MISSING, "the guest's kernel %s has no module %s in /usr/lib/uml/modules", release, name);
  return syscall(SYS_finit_module, fd, "", 0) == 0 || errno == EEXIST ||
         fail(why, ERROR_TOOL_MISSING, "the guest's kernel %s does not take its module %s: %s", release, name, strerror(errno));
}

static bool load_all(struct failure *why) {
  struct utsname kernel;
  if (uname(&kernel) != 0) return fail(why, ERROR_READER_FAILED, "the guest's kernel has no name: %s", strerror(errno));
  return load(kernel.release, "dm-mod", why) && load(kernel.release, "dm-bufio", why) && load(kernel.release, "dm-snapshot", why);
}

bool mapper_open(int disk, struct devices **devices, struct failure *why) {
  struct stat status;
  if (fstat(disk, &status) != 0) return fail(why, ERROR_READER_FAILED, "the guest has no disk: %s", strerror(errno));
  *devices = memory_get(1, sizeof **devices);
  (*devices)->major = major(status.st_rdev);
  (*devices)->minor = minor(status.st_rdev);
  return load_all(why);
}

// --- the mapper's language -----------------------------------------------------------------------------------------------------

static struct dm_ioctl *begin(struct buffer *buffer, unsigned number, uint32_t flags) {
  struct dm_ioctl header = {.version = {DM_VERSION_MAJOR, 0, 0}, .data_start = sizeof header, .flags = flags};
  snprintf(header.name, sizeof header.name, "v%u", number);
  buffer_add(buffer, &header, sizeof header);
  return (struct dm_ioctl *)(void *)buffer->at;
}

static void add_target(struct buffer *table, uint64_t start, uint64_t length, const char *type, const char *arguments) {
  static const char zeros[8];
  size_t bytes = strlen(arguments) + 1, padded = (bytes + 7) & ~(size_t)7;
  struct dm_target_spec spec = {.sector_start = start, .length = length, .next = (uint32_t)(sizeof spec + padded)};
  snprintf(spec.target_type, sizeof spec.target_type, "%s", type);
  buffer_add(table, &spec, sizeof spec);
  buffer_add(table, arguments, bytes);
  buffer_add(table, zeros, padded - bytes);
}

static bool command(int control, unsigned long request, struct buffer *buffer, const char *step, struct failure *why) {
  // The answer is written over the question, into what room is left.
  static const char room[4096];
  buffer_add(buffer, room, sizeof room);
  struct dm_ioctl *header = (struct dm_ioctl *)(void *)buffer->at;
  header->data_size = (uint32_t)buffer->length;
  return ioctl(control, request, header) == 0 || fail(why, ERROR_DISK_INVALID, "a volume of the disk can't be put together (%s: %s)", step, strerror(errno));
}

// Makes the next device, of a table of so many targets.
static bool make(struct devices *devices, const struct buffer *targets, uint32_t count, bool read_only, char path[static DEVICE_PATH], struct failure *why) {
  unsigned number = devices->count;
  uint32_t flags = read_only ? DM_READONLY_FLAG : 0;
  AUTO_BUFFER create = {0}, table = {0}, resume = {0};
  AUTO_FD control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
  if (control < 0) return fail(why, ERROR_READER_FAILED, "the guest has no device mapper: %s", strerror(errno));
  if (number == MOST_DEVICES) return devices_spent(why);
  begin(&create, number, flags | DM_PERSISTENT_DEV_FLAG)->dev = number;
  if (!command(control, DM_DEV_CREATE, &create, "create", why)) return false;
  devices->count++;
  begin(&table, number, flags)->target_count = count;
  buffer_add(&table, targets->at, targets->length);
  if (!command(control, DM_TABLE_LOAD, &table, "load", why)) return false;
  begin(&resume, number, flags);
  if (!command(control, DM_DEV_SUSPEND, &resume, "resume", why)) return false;
  snprintf(path, DEVICE_PATH, "/dev/dm-%u", number);
  return true;
}

// --- volumes -------------------------------------------------------------------------------------------------------------------

bool device_make(struct devices *devices, const struct map *map, char path[static DEVICE_PATH], struct failure *why) {
  AUTO_BUFFER targets = {0};
  for (size_t i = 0; i < map->count; i++) {
    const struct map_piece *piece = &map->items[i];
    AUTO_BUFFER arguments = {0};
    if (piece->stripe_count > 1) buffer_print(&arguments, "%zu %llu ", piece->stripe_count, (unsigned long long)piece->stripe_size);
    for (size_t k = 0; k < piece->stripe_count; k++)
      buffer_print(&arguments, "%s%u:%u %llu", k == 0 ? "" : " ", devices->major, devices->minor, (unsigned long long)piece->stripes[k]);
    add_target(&targets, piece->start, piece->length, piece->stripe_count > 1 ? "striped" : "linear", arguments.at);
  }
  return make(devices, &targets, (uint32_t)map->count, true, path, why);
}

static bool find(const char *path, struct stat *status, struct failure *why) {
  return stat(path, status) == 0 || fail(why, ERROR_READER_FAILED, "the guest has no device %s: %s", path, strerror(errno));
}

bool device_copy(struct devices *devices, const struct map *map, char path[static DEVICE_PATH], struct failure *why) {
  struct stat scratch, origin, place;
  AUTO_BUFFER piece = {0}, linear = {0}, arguments = {0}, snapshot = {0};
  char under[DEVICE_PATH];
  if (devices->copies == GUEST_COPIES) return fail(why, ERROR_LIMIT_EXCEEDED, "more than %d of its file systems have a journal to be replayed", GUEST_COPIES);
  if (!find(GUEST_SCRATCH, &scratch, why) || !find(path, &origin, why)) return false;
  // Each copy has a part of its own of the scratch file, which is sparse.
  buffer_print(&piece, "%u:%u %llu", major(scratch.st_rdev), minor(scratch.st_rdev), (unsigned long long)(devices->copies++ * (GUEST_COPY / SECTOR)));
  add_target(&linear, 0, GUEST_COPY / SECTOR, "linear", piece.at);
  if (!make(devices, &linear, 1, false, under, why) || !find(under, &place, why)) return false;
  buffer_print(&arguments, "%u:%u %u:%u N 8", major(origin.st_rdev), minor(origin.st_rdev), major(place.st_rdev), minor(place.st_rdev));
  add_target(&snapshot, 0, map_size(map) / SECTOR, "snapshot", arguments.at);
  return make(devices, &snapshot, 1, false, path, why);
}

void device_name(const struct devices *devices, const char *path, char name[static DEVICE_PATH]) {
  (void)devices;
  snprintf(name, DEVICE_PATH, "%s", strrchr(path, '/') + 1);
}
