#include "merge/image_reader.h"

#include <string.h>

#include "merge/policy.h"
#include "merge/squashfs.h"
#include "merge/table.h"

struct reading {
  struct contents *contents;
  struct table links; // struct link by inode number
  struct arena arena;
  uint64_t names, promised; // of inodes with several names: found, and what their link counts say
};

// An inode with several names, once it was counted.
struct link {
  uint32_t number;
  unsigned char inode[CONTENTS_INODE];
};

static bool wrong(const struct squashfs_name *name, const char *what, struct failure *why) {
  return fail(why, ERROR_IMAGE_VERIFY_FAILED, "\"%.500s\" %s", name->length == 0 ? "/" : name->path, what);
}

// What this machine's packer writes: everything is root's, and nothing is a device.
static bool is_ours(const struct squashfs_name *name, struct failure *why) {
  if (!is_kept(name->entry.type)) return wrong(name, "is neither a file nor a directory nor a symbolic link", why);
  return (name->uid == 0 && name->gid == 0) || wrong(name, "is not root's", why);
}

static bool count_inode(void *to, const struct squashfs_name *name, struct failure *why) {
  struct reading *reading = to;
  if (!is_ours(name, why)) return false;
  contents_begin(reading->contents, &name->entry);
  return true;
}

static bool wants(void *to, uint64_t length) {
  return contents_wants(((struct reading *)to)->contents, length);
}

static bool count_piece(void *to, const unsigned char *at, uint64_t length, struct failure *why) {
  (void)why;
  contents_piece(((struct reading *)to)->contents, at, length);
  return true;
}

static bool count_end(void *to, const struct squashfs_name *name, struct failure *why) {
  (void)why;
  struct reading *reading = to;
  unsigned char counted[CONTENTS_INODE];
  contents_end(reading->contents, counted);
  if (name->links > 1) {
    struct link *link = arena_get(&reading->arena, sizeof *link);
    link->number = name->number;
    memcpy(link->inode, counted, sizeof counted);
    *table_put(&reading->links, (const char *)&link->number, sizeof link->number) = link;
    reading->names++;
    reading->promised += name->links;
  }
  contents_name(reading->contents, name->path, name->length, counted);
  return true;
}

static bool count_again(void *to, const struct squashfs_name *name, struct failure *why) {
  struct reading *reading = to;
  if (!is_ours(name, why)) return false;
  void **slot = table_find(&reading->links, (const char *)&name->number, sizeof name->number);
  if (slot == NULL) return wrong(name, "is another name of something that has only one", why);
  reading->names++;
  contents_name(reading->contents, name->path, name->length, ((const struct link *)*slot)->inode);
  return true;
}

static void free_reading(struct reading *reading) {
  table_free(&reading->links);
  arena_free(&reading->arena);
}

bool image_read(int fd, uint64_t size, struct contents *contents, uint64_t *inodes, struct failure *why) {
  CLEANUP(free_reading) struct reading reading = {.contents = contents};
  const struct squashfs_visitor visitor = {&reading, ERROR_IMAGE_VERIFY_FAILED, count_inode, wants, count_piece, count_end, count_again};
  struct squashfs_count count;
  bool fine = squashfs_read(fd, size, &visitor, &count, why);
  *inodes = count.inodes;
  if (!fine) return false;
  if (reading.names != reading.promised) return fail(why, ERROR_IMAGE_VERIFY_FAILED, "\"/\" has files with more or fewer names than their link counts say");
  return count.inodes == count.promised || fail(why, ERROR_IMAGE_VERIFY_FAILED, "\"/\" has another number of inodes than its superblock says");
}
