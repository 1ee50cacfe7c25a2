#include "disk/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "disk/output.h"
#include "disk/reader.h"
#include "disk/strip.h"
#include "mechanism/open.h"
#include "merge/policy.h"
#include "merge/writer.h"

#define MOST_DEPTH 500
#define MOST_ATTRIBUTES ((size_t)64 << 10)
#define PIECE ((size_t)256 << 10)
#define MEMORY_OF_NAMES ((size_t)192 << 20)

struct origin { // of a hard link
  uint64_t device, inode;
  char *path;
};

struct walker {
  struct output output;
  struct writer *writer;
  struct buffer path;
  struct origin *origins; // a hash table
  size_t origin_count, origin_room;
  size_t remembered;
  uint64_t most_entries;
  unsigned char *piece;
  struct walk_summary *summary;
  struct failure *why;
};

static bool broken(struct walker *walk, const char *step) {
  if (walk->output.failed) return output_fault(&walk->output, walk->why);
  if (errno == ENOMEM) return fail(walk->why, ERROR_LIMIT_EXCEEDED, "the file system needs more memory than the reader has");
  return fail(walk->why, ERROR_DISK_INVALID, "%s (%s): %s", strerror(errno), step, walk->path.at);
}

static bool remember(struct walker *walk, size_t bytes) {
  walk->remembered += bytes;
  return walk->remembered <= MEMORY_OF_NAMES ||
         fail(walk->why, ERROR_LIMIT_EXCEEDED, "the reader would need more memory than it has for the names of its hard links and directories");
}

// --- hard links ----------------------------------------------------------------------------------------------------------------

static struct origin *slot(struct origin *origins, size_t room, uint64_t device, uint64_t inode) {
  size_t at = (size_t)((inode * UINT64_C(0x9e3779b97f4a7c15)) ^ device) & (room - 1);
  while (origins[at].path != NULL && (origins[at].inode != inode || origins[at].device != device)) at = (at + 1) & (room - 1);
  return &origins[at];
}

static void more_slots(struct walker *walk) {
  size_t room = walk->origin_room == 0 ? 1024 : walk->origin_room * 2;
  struct origin *origins = memory_get(room, sizeof *origins);
  for (size_t i = 0; i < walk->origin_room; i++)
    if (walk->origins[i].path != NULL) *slot(origins, room, walk->origins[i].device, walk->origins[i].inode) = walk->origins[i];
  free(walk->origins);
  walk->origins = origins;
  walk->origin_room = room;
}

// The path under which a file was written already, or NULL: then it is noted.
static const char *origin_of(struct walker *walk, const struct stat *status) {
  if (walk->origin_count * 2 >= walk->origin_room) more_slots(walk);
  struct origin *origin = slot(walk->origins, walk->origin_room, status->st_dev, status->st_ino);
  if (origin->path != NULL) return origin->path;
  *origin = (struct origin){status->st_dev, status->st_ino, memory_copy(walk->path.at, walk->path.length)};
  walk->origin_count++;
  return NULL;
}

// --- entries -------------------------------------------------------------------------------------------------------------------

struct attributes {
  struct tar_attribute *items;
  size_t count, room;
  char *names, *values;
};

static void attributes_free(struct attributes *attributes) {
  free(attributes->items);
  free(attributes->names);
  free(attributes->values);
}

// The extended attributes that an image keeps. A file system may have none.
static bool attributes_read(struct walker *walk, int fd, struct attributes *attributes) {
  ssize_t length = flistxattr(fd, NULL, 0);
  if (length <= 0) return length == 0 || errno == ENOTSUP || broken(walk, "listxattr");
  if ((size_t)length > MOST_ATTRIBUTES) return fail(walk->why, ERROR_LIMIT_EXCEEDED, "%s has too many extended attributes", walk->path.at);
  attributes->names = memory_get((size_t)length + 1, 1);
  attributes->values = memory_get(MOST_ATTRIBUTES, 1);
  if ((length = flistxattr(fd, attributes->names, (size_t)length)) < 0) return broken(walk, "listxattr");
  size_t used = 0;
  for (const char *name = attributes->names; name < attributes->names + length; name += strlen(name) + 1) {
    struct tar_attribute each = {.name = name, .name_length = strlen(name), .value = attributes->values + used};
    if (!is_kept_attribute(&each)) continue;
    ssize_t value = fgetxattr(fd, name, attributes->values + used, MOST_ATTRIBUTES - used);
    if (value < 0) return errno == ERANGE ? fail(walk->why, ERROR_LIMIT_EXCEEDED, "%s has too many extended attributes", walk->path.at) : broken(walk, "getxattr");
    each.value_length = (size_t)value;
    used += (size_t)value;
    attributes->items = memory_grow(attributes->items, &attributes->room, attributes->count + 1, sizeof each);
    attributes->items[attributes->count++] = each;
  }
  return true;
}

static struct tar_entry entry_of(const struct walker *walk, enum tar_type type, const struct stat *status) {
  return (struct tar_entry){.name = walk->path.at, .name_length = walk->path.length, .type = type, .mode = status->st_mode & 07777,
    .mtime = status->st_mtim.tv_sec};
}

static bool write_header(struct walker *walk, const struct tar_entry *entry) {
  if (++walk->summary->entries > walk->most_entries)
    return fail(walk->why, ERROR_LIMIT_EXCEEDED, "the disk holds more than %llu entries", (unsigned long long)walk->most_entries);
  return writer_header(walk->writer, entry) || broken(walk, "write");
}

static bool write_content(struct walker *walk, int fd, uint64_t size) {
  for (uint64_t done = 0; done < size;) {
    ssize_t n = read(fd, walk->piece, size - done < PIECE ? (size_t)(size - done) : PIECE);
    if (n < 0) return broken(walk, "read");
    if (n == 0) return fail(walk->why, ERROR_DISK_INVALID, "%s ends before its size", walk->path.at);
    if (!writer_content(walk->writer, walk->piece, (uint64_t)n)) return broken(walk, "write");
    done += (uint64_t)n;
  }
  return writer_content_end(walk->writer) || broken(walk, "write");
}

static bool write_regular(struct walker *walk, int directory, const char *name, const struct stat *status) {
  CLEANUP(attributes_free) struct attributes attributes = {0};
  AUTO_FD fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return broken(walk, "open");
  if (!attributes_read(walk, fd, &attributes)) return false;
  struct tar_entry entry = entry_of(walk, TAR_REGULAR, status);
  entry.size = (uint64_t)status->st_size;
  // A sparse file claims what it likes; nobody waits for its zeros.
  if (entry.size > walk->output.most - walk->output.written) {
    walk->output.failed = walk->output.too_long = true;
    return output_fault(&walk->output, walk->why);
  }
  entry.attributes = attributes.items;
  entry.attribute_count = attributes.count;
  return write_header(walk, &entry) && write_content(walk, fd, entry.size);
}

static bool write_symlink(struct walker *walk, int directory, const char *name, const struct stat *status) {
  char target[4097];
  ssize_t length = readlinkat(directory, name, target, sizeof target);
  if (length < 0) return broken(walk, "readlink");
  if (length == 0 || (size_t)length == sizeof target) return fail(walk->why, ERROR_DISK_INVALID, "the symbolic link %s leads nowhere", walk->path.at);
  target[length] = '\0';
  struct tar_entry entry = entry_of(walk, TAR_SYMLINK, status);
  entry.link = target;
  entry.link_length = (size_t)length;
  return write_header(walk, &entry);
}

static bool write_link(struct walker *walk, const char *origin, const struct stat *status) {
  struct tar_entry entry = entry_of(walk, TAR_LINK, status);
  entry.link = origin;
  entry.link_length = strlen(origin);
  return write_header(walk, &entry);
}

static bool write_directory(struct walker *walk, int fd, const struct stat *status) {
  CLEANUP(attributes_free) struct attributes attributes = {0};
  if (!attributes_read(walk, fd, &attributes)) return false;
  struct tar_entry entry = entry_of(walk, TAR_DIRECTORY, status);
  entry.attributes = attributes.items;
  entry.attribute_count = attributes.count;
  if (walk->path.length == 0) {
    entry.name = "./";
    entry.name_length = 2;
    return write_header(walk, &entry);
  }
  buffer_byte(&walk->path, '/');
  entry.name = walk->path.at;
  entry.name_length = walk->path.length;
  bool written = write_header(walk, &entry);
  walk->path.at[--walk->path.length] = '\0';
  return written;
}

static bool walk_directory(struct walker *walk, int fd, const struct stat *status, unsigned depth);

static bool visit_directory(struct walker *walk, int directory, const char *name, const struct stat *status, unsigned depth) {
  if (depth == MOST_DEPTH) return fail(walk->why, ERROR_LIMIT_EXCEEDED, "a directory lies deeper than %d others: %s", MOST_DEPTH, walk->path.at);
  AUTO_FD fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return broken(walk, "open");
  return walk_directory(walk, fd, status, depth + 1);
}

static bool visit(struct walker *walk, int directory, const char *name, unsigned depth) {
  struct stat status;
  if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return broken(walk, "stat");
  int rule = strip_match(walk->path.at, status.st_mode);
  if (rule >= 0) {
    walk->summary->stripped[rule]++;
    return true;
  }
  if (S_ISDIR(status.st_mode)) return visit_directory(walk, directory, name, &status, depth);
  // Devices, FIFOs and sockets are the running machine's.
  if (!S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) {
    walk->summary->stripped[strip_rule_count]++;
    return true;
  }
  const char *origin = status.st_nlink > 1 ? origin_of(walk, &status) : NULL;
  if (origin != NULL) return write_link(walk, origin, &status);
  if (status.st_nlink > 1 && !remember(walk, walk->path.length + 2 * sizeof(struct origin))) return false;
  return S_ISREG(status.st_mode) ? write_regular(walk, directory, name, &status) : write_symlink(walk, directory, name, &status);
}

static int by_name(const void *one, const void *other) {
  char *const *left = one, *const *right = other;
  return strcmp(*left, *right);
}

static size_t memory_of(const struct words *names) {
  size_t bytes = names->room * sizeof *names->items;
  for (size_t i = 0; i < names->count; i++) bytes += strlen(names->items[i]) + 32;
  return bytes;
}

static bool walk_directory(struct walker *walk, int fd, const struct stat *status, unsigned depth) {
  AUTO_WORDS names = {0};
  if (!write_directory(walk, fd, status)) return false;
  if (!names_in(fd, true, &names)) return broken(walk, "readdir");
  size_t bytes = memory_of(&names), length = walk->path.length;
  if (!remember(walk, bytes)) return false;
  // In an order of its own, so that a disk gives the same archive each time.
  if (names.count > 0) qsort(names.items, names.count, sizeof *names.items, by_name);
  for (size_t i = 0; i < names.count; i++) {
    if (length > 0) buffer_byte(&walk->path, '/');
    buffer_text(&walk->path, names.items[i]);
    if (!visit(walk, fd, names.items[i], depth)) return false;
    walk->path.length = length;
    walk->path.at[length] = '\0';
  }
  walk->remembered -= bytes;
  return true;
}

bool walk_tree(const char *root, int output, uint64_t most_entries, uint64_t most_bytes, struct walk_summary *summary, struct failure *why) {
  struct walker walk = {.most_entries = most_entries, .piece = memory_get(PIECE, 1), .summary = summary, .why = why};
  struct stat status;
  AUTO_FD fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &status) != 0) return fail(why, ERROR_DISK_INVALID, "its root directory can't be read: %s", strerror(errno));
  buffer_text(&walk.path, "");
  output_open(&walk.output, output, most_bytes);
  walk.writer = writer_open((struct writer_output){output_write, &walk.output});
  if (!walk_directory(&walk, fd, &status, 0)) return false;
  if (!writer_end(walk.writer) || !output_end(&walk.output)) return output_fault(&walk.output, why);
  summary->bytes = walk.output.written;
  return true;
}
