#include "tree/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "merge/table.h"

#define INSIDE (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)
#define EVERYONE_ENTERS ((mode_t)(S_IROTH | S_IXOTH))
#define READ_WHOLE ((size_t)4 << 20) // files of this size are read before they are written, so that they can be read again
#define TRIES 3

struct reading {
  const struct walk_limits *limits;
  struct stream *stream;
  struct path path;
  dev_t device;
  struct table links; // struct link by device and inode: files with several names
  struct arena arena;
  unsigned char *piece;
};

struct link {
  uint64_t key[2];
  uint32_t length;
  const char *path;
};

// --- the root --------------------------------------------------------------------------------------------------------------------

// Every directory on the way is open to everyone, as whoever used the tree had to pass it.
static bool check_open_to_everyone(const char *root, struct failure *why) {
  AUTO_FREE char *path = memory_copy(root, strlen(root));
  for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
    struct stat status;
    if (slash != NULL) *slash = '\0';
    mode_t needed = slash == NULL ? EVERYONE_ENTERS : S_IXOTH;
    if (lstat(path, &status) != 0) return fail(why, ERROR_TREE_UNREADABLE, "%.500s can't be looked at: %s", path, strerror(errno));
    if ((status.st_mode & needed) != needed)
      return fail(why, ERROR_TREE_UNSAFE, "%.500s is not open to everyone (mode %04o), and an image of it would be", path, status.st_mode & 07777);
    if (slash == NULL) return true;
    *slash = '/';
  }
}

// A descriptor for each directory on the way down.
static bool allow_depth(size_t depth, struct failure *why) {
  struct rlimit files;
  rlim_t needed = (rlim_t)depth + 64;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return fail(why, ERROR_RESOURCE, "no limit of open files: %s", strerror(errno));
  if (files.rlim_cur >= needed) return true;
  files.rlim_cur = files.rlim_max < needed ? files.rlim_max : needed;
  return (files.rlim_cur >= needed && setrlimit(RLIMIT_NOFILE, &files) == 0) ||
         fail(why, ERROR_RESOURCE, "%llu files can't be open at once, as a tree of such depth may need", (unsigned long long)needed);
}

int walk_open(const char *root, const struct walk_limits *limits, struct failure *why) {
  AUTO_FD at = -1;
  AUTO_FREE char *unsafe = NULL;
  enum walk found = walk_protected(root, 0, &at, &unsafe);
  if (found == WALK_OK) return check_open_to_everyone(root, why) && allow_depth(limits->depth, why) ? steal_fd(&at) : -1;
  if (found == WALK_UNSAFE) fail(why, ERROR_TREE_UNSAFE, "%.900s", unsafe);
  else fail(why, ERROR_TREE_UNREADABLE, "\"%.500s\" can't be opened: %s", root, found == WALK_MISSING ? "it is not there" : strerror(errno));
  return -1;
}

// --- regular files ---------------------------------------------------------------------------------------------------------------

static bool is_same(const struct stat *one, const struct stat *other) {
  return one->st_size == other->st_size && one->st_mtim.tv_sec == other->st_mtim.tv_sec && one->st_mtim.tv_nsec == other->st_mtim.tv_nsec &&
         one->st_ctim.tv_sec == other->st_ctim.tv_sec && one->st_ctim.tv_nsec == other->st_ctim.tv_nsec;
}

// As many bytes as there are, at most `length`; -1 with errno.
static ssize_t read_at(int file, unsigned char *to, size_t length, uint64_t from) {
  size_t got = 0;
  while (got < length) {
    ssize_t n = pread(file, to + got, length - got, (off_t)(from + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    got += (size_t)n;
  }
  return (ssize_t)got;
}

static struct tar_entry header_of(const struct stat *status, enum tar_type type) {
  return (struct tar_entry){.type = type, .mode = status->st_mode & 07777, .size = type == TAR_REGULAR ? (uint64_t)status->st_size : 0, .mtime = status->st_mtim.tv_sec};
}

// Where a file's next bytes are, at most at `end`: a hole is not read.
static uint64_t skip_hole(int file, uint64_t from, uint64_t end) {
  off_t data = lseek(file, (off_t)from, SEEK_DATA);
  if (data < 0) return errno == ENXIO ? end : from;
  return (uint64_t)data < end ? (uint64_t)data : end;
}

// What is missing at its end is zeros: its size is written already.
static bool copy_large(struct reading *reading, int file, const struct stat *status, struct failure *why) {
  const struct tar_entry header = header_of(status, TAR_REGULAR);
  enum stream_step step = stream_entry(reading->stream, &reading->path, &header, NULL, why);
  if (step != STREAM_TAKEN) return step == STREAM_LEFT_OUT;
  for (uint64_t at = 0; at < header.size;) {
    uint64_t data = skip_hole(file, at, header.size);
    if (data > at) {
      if (!stream_content(reading->stream, NULL, data - at, why)) return false;
      at = data;
      continue;
    }
    size_t wanted = header.size - at < READ_WHOLE ? (size_t)(header.size - at) : READ_WHOLE;
    ssize_t got = read_at(file, reading->piece, wanted, at);
    if (got < 0) return fail(why, ERROR_TREE_UNREADABLE, "\"%.500s\" can't be read: %s", reading->path.text.at, strerror(errno));
    if (!stream_content(reading->stream, reading->piece, (uint64_t)got, why)) return false;
    at += (uint64_t)got;
    if ((size_t)got == wanted) continue;
    if (!stream_content(reading->stream, NULL, header.size - at, why)) return false;
    break;
  }
  struct stat after;
  if (fstat(file, &after) != 0 || !is_same(status, &after)) stream_note(reading->stream, NOTE_CHANGED, &reading->path);
  return stream_content_end(reading->stream, why);
}

static bool copy_small(struct reading *reading, int file, struct stat *status, struct failure *why) {
  struct stat after = *status;
  ssize_t got = 0;
  bool settled = false;
  for (int i = 0; i < TRIES && !settled; i++) {
    *status = after;
    if (status->st_size > (off_t)READ_WHOLE) return copy_large(reading, file, status, why); // it grew
    got = read_at(file, reading->piece, (size_t)status->st_size, 0);
    if (got < 0 || fstat(file, &after) != 0) {
      stream_note(reading->stream, NOTE_UNREADABLE, &reading->path);
      return true;
    }
    settled = is_same(status, &after) && got == status->st_size;
  }
  if (!settled) stream_note(reading->stream, NOTE_CHANGED, &reading->path);
  struct tar_entry header = header_of(status, TAR_REGULAR);
  header.size = (uint64_t)got;
  enum stream_step step = stream_entry(reading->stream, &reading->path, &header, NULL, why);
  if (step != STREAM_TAKEN) return step == STREAM_LEFT_OUT;
  return stream_content(reading->stream, reading->piece, (uint64_t)got, why) && stream_content_end(reading->stream, why);
}

// What was seen is what is opened: by the descriptor, since a device or a FIFO does something when it is opened.
static int open_again(int place, struct stat *status) {
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", place);
  AUTO_FD file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return file >= 0 && fstat(file, status) == 0 && S_ISREG(status->st_mode) ? steal_fd(&file) : -1;
}

static bool again(struct reading *reading, const struct link *link, const struct stat *status, struct failure *why) {
  CLEANUP(path_free) struct path first = {0};
  path_set(&first, link->path, link->length);
  struct tar_entry entry = header_of(status, TAR_LINK);
  return stream_entry(reading->stream, &reading->path, &entry, &first, why) != STREAM_FAULT;
}

static bool leave_to_rules(struct reading *reading, const struct stat *status, struct failure *why) {
  const struct tar_entry header = header_of(status, TAR_REGULAR);
  return stream_entry(reading->stream, &reading->path, &header, NULL, why) != STREAM_FAULT;
}

static bool regular(struct reading *reading, int place, struct stat *status, struct failure *why) {
  struct link **slot = NULL;
  AUTO_RULING ruling;
  tree_rule(reading->path.text.at, NULL, &ruling);
  // A secret is left out by all its names, anything else by the name that the rules name.
  if (ruling.fate != TREE_KEEP && ruling.note != NOTE_SECRET) return leave_to_rules(reading, status, why);
  if (status->st_nlink > 1) {
    struct link *link = arena_get(&reading->arena, sizeof *link);
    *link = (struct link){.key = {status->st_dev, status->st_ino}};
    slot = (struct link **)(void *)table_put(&reading->links, (const char *)link->key, sizeof link->key);
    if (*slot != NULL) return again(reading, *slot, status, why);
    link->path = arena_copy(&reading->arena, reading->path.text.at, reading->path.text.length);
    link->length = (uint32_t)reading->path.text.length;
    *slot = link;
  }
  if (ruling.fate != TREE_KEEP) return leave_to_rules(reading, status, why);
  if ((status->st_mode & S_IROTH) == 0) {
    stream_note(reading->stream, NOTE_PRIVATE, &reading->path);
    return true;
  }
  AUTO_FD file = open_again(place, status);
  if (file < 0) {
    stream_note(reading->stream, errno == ENOENT ? NOTE_VANISHED : NOTE_UNREADABLE, &reading->path);
    return true;
  }
  return status->st_size <= (off_t)READ_WHOLE ? copy_small(reading, file, status, why) : copy_large(reading, file, status, why);
}

// --- everything else -------------------------------------------------------------------------------------------------------------

static bool directory(struct reading *reading, int place, const struct stat *status, struct failure *why);

static bool symbolic(struct reading *reading, int place, const struct stat *status, struct failure *why) {
  char target[4096];
  ssize_t length = readlinkat(place, "", target, sizeof target);
  if (length <= 0 || (size_t)length == sizeof target) {
    stream_note(reading->stream, NOTE_UNREADABLE, &reading->path);
    return true;
  }
  target[length] = '\0';
  struct tar_entry entry = header_of(status, TAR_SYMLINK);
  entry.mode = 0777;
  entry.link = target;
  entry.link_length = (size_t)length;
  return stream_entry(reading->stream, &reading->path, &entry, NULL, why) != STREAM_FAULT;
}

// What lies on another file system is a directory to mount on, and nothing else.
static bool mounted(struct reading *reading, bool is_directory, struct failure *why) {
  stream_note(reading->stream, NOTE_MOUNT, &reading->path);
  const struct tar_entry empty = {.type = TAR_DIRECTORY, .mode = 0755};
  return !is_directory || stream_entry(reading->stream, &reading->path, &empty, NULL, why) != STREAM_FAULT;
}

static bool unopened(struct reading *reading, int parent, const char *name, struct failure *why) {
  int error = errno;
  struct stat status;
  if (error == EXDEV) return mounted(reading, fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0 && S_ISDIR(status.st_mode), why);
  stream_note(reading->stream, error == ENOENT ? NOTE_VANISHED : error == ELOOP || error == ENOTDIR ? NOTE_CHANGED : NOTE_UNREADABLE, &reading->path);
  return true;
}

static bool is_mount(int place, const struct stat *status, dev_t device) {
  struct statx more;
  bool automatic = statx(place, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE, &more) == 0 && (more.stx_attributes & STATX_ATTR_AUTOMOUNT) != 0;
  return automatic || status->st_dev != device;
}

static bool entry(struct reading *reading, int parent, const char *name, struct failure *why) {
  AUTO_FD place = open_resolved(parent, name, O_PATH | O_NOFOLLOW, 0, INSIDE);
  struct stat status;
  if (place < 0) return unopened(reading, parent, name, why);
  if (fstat(place, &status) != 0) {
    stream_note(reading->stream, NOTE_UNREADABLE, &reading->path);
    return true;
  }
  if (S_ISDIR(status.st_mode)) return is_mount(place, &status, reading->device) ? mounted(reading, true, why) : directory(reading, place, &status, why);
  if (S_ISREG(status.st_mode)) return regular(reading, place, &status, why);
  if (S_ISLNK(status.st_mode)) return symbolic(reading, place, &status, why);
  // A socket has no form in tar, and goes the way of a FIFO.
  const struct tar_entry special = header_of(&status, S_ISCHR(status.st_mode) ? TAR_CHARACTER : S_ISBLK(status.st_mode) ? TAR_BLOCK_DEVICE : TAR_FIFO);
  return stream_entry(reading->stream, &reading->path, &special, NULL, why) != STREAM_FAULT;
}

static int by_bytes(const void *one, const void *other) {
  return strcmp(*(char *const *)one, *(char *const *)other);
}

static bool entries(struct reading *reading, int place, struct failure *why) {
  AUTO_WORDS names = {0};
  const char *path = reading->path.count == 0 ? "/" : reading->path.text.at;
  if (!names_in(place, true, &names)) {
    if (errno != ENOENT) stream_note(reading->stream, NOTE_UNREADABLE, &reading->path);
    return true;
  }
  if (names.count > reading->limits->directory_entries)
    return fail(why, ERROR_LIMIT_EXCEEDED, "\"%.500s\" holds more than %llu names", path, (unsigned long long)reading->limits->directory_entries);
  if (names.count > 0) qsort(names.items, names.count, sizeof *names.items, by_bytes);
  size_t depth = reading->path.count;
  for (size_t i = 0; i < names.count; i++) {
    path_add(&reading->path, names.items[i], strlen(names.items[i]));
    if (!entry(reading, place, names.items[i], why)) return false;
    path_cut(&reading->path, depth);
  }
  return true;
}

static bool directory(struct reading *reading, int place, const struct stat *status, struct failure *why) {
  bool closed = (status->st_mode & EVERYONE_ENTERS) != EVERYONE_ENTERS;
  struct tar_entry header = header_of(status, TAR_DIRECTORY);
  if (closed) header.mtime = 0; // of what nobody sees
  enum stream_step step = stream_entry(reading->stream, &reading->path, &header, NULL, why);
  if (step != STREAM_TAKEN) return step == STREAM_LEFT_OUT;
  if (!closed) return entries(reading, place, why);
  stream_note(reading->stream, NOTE_PRIVATE, &reading->path);
  return true;
}

static void free_reading(struct reading *reading) {
  path_free(&reading->path);
  table_free(&reading->links);
  arena_free(&reading->arena);
  free(reading->piece);
}

bool walk_tree(int root, const struct walk_limits *limits, uint64_t key, struct stream *stream, struct failure *why) {
  CLEANUP(free_reading) struct reading reading = {.limits = limits, .stream = stream, .links = {.key = key}, .piece = memory_get(READ_WHOLE, 1)};
  struct stat status;
  if (fstat(root, &status) != 0) return fail(why, ERROR_TREE_UNREADABLE, "it can't be looked at: %s", strerror(errno));
  reading.device = status.st_dev;
  return directory(&reading, root, &status, why);
}
