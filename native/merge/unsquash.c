#include "merge/unsquash.h"

#include <string.h>

#include "merge/blob.h"
#include "merge/path.h"
#include "merge/table.h"

struct unsquash {
  const struct unsquash_limits *limits;
  struct writer *writer;
  struct writer_output output;
  uint64_t most, written, entries;
  bool ended;          // the output took no more
  struct table links;  // struct link by inode number: files with several names
  struct arena arena;
};

// A file with several names: the first of them.
struct link {
  uint32_t number;
  uint32_t length;
  const char *path;
};

static bool wrong(const struct squashfs_name *name, const char *what, struct failure *why) {
  return fail(why, ERROR_FILE_INVALID, "\"%.500s\" %s", name->length == 0 ? "/" : name->path, what);
}

static bool over(const struct squashfs_name *name, const char *what, uint64_t limit, struct failure *why) {
  return fail(why, ERROR_LIMIT_EXCEEDED, "with \"%.500s\" it has more than %llu %s", name->path, (unsigned long long)limit, what);
}

static bool write_counted(void *to, const void *at, size_t length) {
  struct unsquash *unsquash = to;
  unsquash->written += length;
  if (unsquash->written > unsquash->most) return false;
  unsquash->ended = !unsquash->output.write(unsquash->output.to, at, length);
  return !unsquash->ended;
}

// Why writing stopped.
static bool stopped(const struct unsquash *unsquash, struct failure *why) {
  if (unsquash->ended) return fail(why, ERROR_STATE_UNUSABLE, "the stream can't be written");
  return fail(why, ERROR_LIMIT_EXCEEDED, "it holds more than %llu bytes, or %llu times its size", (unsigned long long)unsquash->limits->bytes,
    (unsigned long long)unsquash->limits->ratio);
}

static bool has_no_marks(const struct squashfs_name *name) {
  const char *slash = strrchr(name->path, '/');
  return strncmp(slash == NULL ? name->path : slash + 1, WHITEOUT_PREFIX, WHITEOUT_PREFIX_LENGTH) != 0;
}

static bool check_name(struct unsquash *unsquash, const struct squashfs_name *name, struct failure *why) {
  const struct unsquash_limits *limits = unsquash->limits;
  if (++unsquash->entries > limits->entries) return over(name, "names", limits->entries, why);
  if (name->depth > limits->depth) return over(name, "components in a name", limits->depth, why);
  if (name->length > limits->name_bytes) return over(name, "bytes in a name", limits->name_bytes, why);
  return has_no_marks(name) || wrong(name, "has a name that stands for a removed file, as layers write it", why);
}

static bool check_entry(const struct squashfs_name *name, struct failure *why) {
  const struct tar_entry *entry = &name->entry;
  if (entry->type == TAR_SYMLINK && (entry->link_length == 0 || memchr(entry->link, '\0', entry->link_length) != NULL))
    return wrong(name, "is a symbolic link to what can be no name", why);
  for (size_t i = 0; i < entry->attribute_count; i++) {
    if (memchr(entry->attributes[i].name, '=', entry->attributes[i].name_length) != NULL)
      return wrong(name, "has an extended attribute with '=' in its name", why);
    // They are sorted.
    if (i > 0 && strcmp(entry->attributes[i - 1].name, entry->attributes[i].name) == 0) return wrong(name, "has an extended attribute twice", why);
  }
  return true;
}

static bool header(struct unsquash *unsquash, const struct squashfs_name *name, const struct tar_entry *told, struct failure *why) {
  struct tar_entry entry = *told;
  entry.name = name->length == 0 ? "." : name->path;
  entry.name_length = name->length == 0 ? 1 : name->length;
  return writer_header(unsquash->writer, &entry) || stopped(unsquash, why);
}

static bool write_inode(void *to, const struct squashfs_name *name, struct failure *why) {
  struct unsquash *unsquash = to;
  if (name->length == 0 && name->entry.type != TAR_DIRECTORY) return wrong(name, "is no directory", why);
  return check_name(unsquash, name, why) && check_entry(name, why) && header(unsquash, name, &name->entry, why);
}

static bool write_piece(void *to, const unsigned char *at, uint64_t length, struct failure *why) {
  struct unsquash *unsquash = to;
  return writer_content(unsquash->writer, at, length) || stopped(unsquash, why);
}

static bool write_end(void *to, const struct squashfs_name *name, struct failure *why) {
  struct unsquash *unsquash = to;
  if (name->entry.type != TAR_REGULAR) return true;
  if (name->links > 1) {
    struct link *link = arena_get(&unsquash->arena, sizeof *link);
    *link = (struct link){name->number, (uint32_t)name->length, arena_copy(&unsquash->arena, name->path, name->length)};
    *table_put(&unsquash->links, (const char *)&link->number, sizeof link->number) = link;
  }
  return writer_content_end(unsquash->writer) || stopped(unsquash, why);
}

// Only files are linked: that two symbolic links or devices are one is of no use to anybody.
static bool write_again(void *to, const struct squashfs_name *name, struct failure *why) {
  struct unsquash *unsquash = to;
  if (!check_name(unsquash, name, why) || !check_entry(name, why)) return false;
  if (name->entry.type != TAR_REGULAR) return header(unsquash, name, &name->entry, why);
  void **slot = table_find(&unsquash->links, (const char *)&name->number, sizeof name->number);
  if (slot == NULL) return wrong(name, "is another name of something that has only one", why);
  const struct link *link = *slot;
  const struct tar_entry entry = {.type = TAR_LINK, .mode = name->entry.mode, .mtime = name->entry.mtime, .link = link->path, .link_length = link->length};
  return header(unsquash, name, &entry, why);
}

static void free_unsquash(struct unsquash *unsquash) {
  writer_close(&unsquash->writer);
  table_free(&unsquash->links);
  arena_free(&unsquash->arena);
}

bool unsquash(int fd, uint64_t size, const struct unsquash_limits *limits, uint64_t key, struct writer_output output, struct failure *why) {
  CLEANUP(free_unsquash) struct unsquash unsquash = {.limits = limits, .output = output, .links = {.key = key}};
  uint64_t most = blob_most(size, limits->ratio);
  unsquash.most = most < limits->bytes ? most : limits->bytes;
  unsquash.writer = writer_open((struct writer_output){write_counted, &unsquash});
  const struct squashfs_visitor visitor = {&unsquash, ERROR_FILE_INVALID, write_inode, NULL, write_piece, write_end, write_again};
  struct squashfs_count count;
  if (!squashfs_read(fd, size, &visitor, &count, why)) return false;
  return writer_end(unsquash.writer) || stopped(&unsquash, why);
}
