#include "merge/squashfs.h"

#include <errno.h>
#include <sqfs/block.h>
#include <sqfs/compressor.h>
#include <sqfs/dir.h>
#include <sqfs/dir_reader.h>
#include <sqfs/error.h>
#include <sqfs/frag_table.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/super.h>
#include <sqfs/xattr.h>
#include <sqfs/xattr_reader.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/superblock.h"

#define NONE UINT32_MAX
#define DEPTH_MOST 4096
#define ATTRIBUTES_MOST 100
#define KEPT 64 // fragments: files that were written together lie in few, but names are sorted
#define ATTRIBUTES_BYTES ((size_t)1 << 20)

// A block that holds the ends of many files.
struct fragment {
  unsigned char *at; // room for a block, once it is needed
  uint32_t index;
  size_t length; // 0: nothing is kept here
};

struct image {
  sqfs_file_t file; // what the library reads from; the first member
  int fd;
  uint64_t size;
  sqfs_super_t super;
  sqfs_compressor_t *compressor;
  sqfs_dir_reader_t *directories;
  sqfs_id_table_t *ids;
  sqfs_xattr_reader_t *attributes;
  sqfs_frag_table_t *fragments;
  struct fragment kept[KEPT];    // each at its index modulo their number
  unsigned char *packed, *block; // room for a block each
  unsigned char *seen;           // a bit for every inode number
  uint64_t inodes;               // seen
  struct buffer path;
  const struct squashfs_visitor *visitor;
  struct failure *why;
};

static bool wrong(const struct image *image, const char *what) {
  const char *path = image->path.at == NULL ? "" : image->path.at;
  return fail(image->why, image->visitor->code, "\"%.500s\" %s", path[0] == '\0' ? "/" : path, what);
}

static bool unreadable(const struct image *image, const char *what, int error) {
  const char *because = "it is damaged";
  switch (error) {
    case SQFS_ERROR_ALLOC: because = "it would take more memory than there is"; break;
    case SQFS_ERROR_IO: because = "reading the file failed"; break;
    case SQFS_ERROR_COMPRESSOR: because = "it can't be inflated"; break;
    case SQFS_ERROR_UNSUPPORTED: because = "it has a form that is not known"; break;
    case SQFS_ERROR_OUT_OF_BOUNDS: because = "it points outside the file"; break;
    default: break;
  }
  AUTO_BUFFER text = {0};
  buffer_print(&text, "has %s that can't be read: %s", what, because);
  return wrong(image, text.at);
}

// --- opening -------------------------------------------------------------------------------------------------------------------

static int read_at(sqfs_file_t *file, sqfs_u64 offset, void *into, size_t length) {
  const struct image *image = (struct image *)(void *)file;
  if (offset > image->size || length > image->size - offset) return SQFS_ERROR_OUT_OF_BOUNDS;
  for (char *at = into; length > 0;) {
    ssize_t n = pread(image->fd, at, length, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return SQFS_ERROR_IO;
    at += n;
    offset += (sqfs_u64)n;
    length -= (size_t)n;
  }
  return 0;
}

static sqfs_u64 get_size(const sqfs_file_t *file) {
  return ((const struct image *)(const void *)file)->size;
}

static int write_at(sqfs_file_t *file, sqfs_u64 offset, const void *from, size_t length) {
  (void)file, (void)offset, (void)from, (void)length;
  return SQFS_ERROR_UNSUPPORTED;
}

static int truncate_to(sqfs_file_t *file, sqfs_u64 size) {
  (void)file, (void)size;
  return SQFS_ERROR_UNSUPPORTED;
}

static void cleanup_object(void *pointer) {
  if (pointer != NULL) sqfs_destroy(pointer);
}

static void close_image(struct image *image) {
  cleanup_object(image->fragments);
  cleanup_object(image->attributes);
  cleanup_object(image->ids);
  cleanup_object(image->directories);
  cleanup_object(image->compressor);
  free(image->packed);
  free(image->block);
  for (size_t i = 0; i < KEPT; i++) free(image->kept[i].at);
  free(image->seen);
  buffer_free(&image->path);
}

static bool open_compressor(struct image *image) {
  sqfs_compressor_config_t config;
  int error = sqfs_compressor_config_init(&config, (SQFS_COMPRESSOR)image->super.compression_id, image->super.block_size, SQFS_COMP_FLAG_UNCOMPRESS);
  if (error == 0) error = sqfs_compressor_create(&config, &image->compressor);
  if (error == 0 && (image->super.flags & SQFS_FLAG_COMPRESSOR_OPTIONS) != 0) error = image->compressor->read_options(image->compressor, &image->file);
  return error == 0 || unreadable(image, "a compressor", error);
}

static bool open_tables(struct image *image) {
  image->ids = sqfs_id_table_create(0);
  image->attributes = sqfs_xattr_reader_create(0);
  image->fragments = sqfs_frag_table_create(0);
  image->directories = sqfs_dir_reader_create(&image->super, image->compressor, &image->file, 0);
  if (image->ids == NULL || image->attributes == NULL || image->fragments == NULL || image->directories == NULL) memory_exhausted();
  int error = sqfs_id_table_read(image->ids, &image->file, &image->super, image->compressor);
  if (error != 0) return unreadable(image, "a table of owners", error);
  error = sqfs_xattr_reader_load(image->attributes, &image->super, &image->file, image->compressor);
  if (error != 0) return unreadable(image, "a table of extended attributes", error);
  error = sqfs_frag_table_read(image->fragments, &image->file, &image->super, image->compressor);
  return error == 0 || unreadable(image, "a table of fragments", error);
}

static bool open_image(struct image *image) {
  unsigned char block[SUPERBLOCK_BYTES];
  int error = read_at(&image->file, 0, block, sizeof block);
  if (error != 0) return unreadable(image, "a superblock", error);
  if (!superblock_check(block, image->size, image->why)) {
    image->why->code = image->visitor->code;
    return false;
  }
  error = sqfs_super_read(&image->super, &image->file);
  if (error != 0) return unreadable(image, "a superblock", error);
  image->size = image->super.bytes_used;
  // The least that a block of the inode table takes, and the most inodes that it holds.
  uint64_t blocks = (image->super.directory_table_start - image->super.inode_table_start) / 3;
  if (image->super.inode_table_start > image->super.directory_table_start || image->super.inode_count > blocks * 512)
    return wrong(image, "has more inodes than its table can hold");
  image->packed = memory_get(1, image->super.block_size);
  image->block = memory_get(1, image->super.block_size);
  image->seen = memory_get((size_t)image->super.inode_count / 8 + 1, 1);
  return open_compressor(image) && open_tables(image);
}

// --- content -------------------------------------------------------------------------------------------------------------------

// Whether anyone wants to know the next bytes.
static bool is_wanted(const struct image *image, uint64_t length) {
  const struct squashfs_visitor *visitor = image->visitor;
  return visitor->wants == NULL || visitor->wants(visitor->to, length);
}

static bool tell(const struct image *image, const unsigned char *at, uint64_t length) {
  return image->visitor->piece(image->visitor->to, at, length, image->why);
}

// A block by its place and size word, which must inflate to `expected` bytes; 0: whatever it has.
static bool read_block(struct image *image, uint64_t place, uint32_t word, size_t expected, unsigned char *into, size_t *length) {
  uint32_t stored = SQFS_ON_DISK_BLOCK_SIZE(word);
  bool packed = SQFS_IS_BLOCK_COMPRESSED(word);
  int error = read_at(&image->file, place, packed ? image->packed : into, stored);
  if (error != 0) return unreadable(image, "content", error);
  *length = stored;
  if (packed) {
    sqfs_s32 n = image->compressor->do_block(image->compressor, image->packed, stored, into, image->super.block_size);
    if (n <= 0) return unreadable(image, "content", n == 0 ? SQFS_ERROR_COMPRESSOR : n);
    *length = (size_t)n;
  }
  return expected == 0 || *length == expected || wrong(image, "has a block of another length than its size says");
}

static bool check_place(const struct image *image, uint64_t place, uint32_t word) {
  uint32_t stored = SQFS_ON_DISK_BLOCK_SIZE(word);
  uint64_t end = image->super.inode_table_start;
  bool inside = place >= SUPERBLOCK_BYTES && place <= end && stored <= end - place && stored <= image->super.block_size;
  return inside || wrong(image, "has content outside the part of the file that holds it");
}

static bool read_tail(struct image *image, uint32_t index, uint32_t offset, size_t length) {
  sqfs_fragment_t fragment;
  if (sqfs_frag_table_lookup(image->fragments, index, &fragment) != 0) return wrong(image, "has its end in a fragment that is not there");
  if (!check_place(image, fragment.start_offset, fragment.size)) return false;
  if (!is_wanted(image, length)) return tell(image, NULL, length);
  struct fragment *kept = &image->kept[index % KEPT];
  if (kept->length == 0 || kept->index != index) {
    if (kept->at == NULL) kept->at = memory_get(1, image->super.block_size);
    kept->index = index;
    if (!read_block(image, fragment.start_offset, fragment.size, 0, kept->at, &kept->length)) return false;
  }
  if (offset > kept->length || length > kept->length - offset) return wrong(image, "has its end outside its fragment");
  return tell(image, kept->at + offset, length);
}

static bool read_content(struct image *image, const sqfs_inode_generic_t *inode, uint64_t left) {
  uint64_t place;
  uint32_t index, offset;
  if (sqfs_inode_get_file_block_start(inode, &place) != 0 || sqfs_inode_get_frag_location(inode, &index, &offset) != 0)
    return wrong(image, "is no regular file");
  size_t blocks = sqfs_inode_get_file_block_count(inode);
  for (size_t i = 0; i < blocks; i++) {
    uint32_t word = inode->extra[i], stored = SQFS_ON_DISK_BLOCK_SIZE(word);
    size_t length = left < image->super.block_size ? (size_t)left : image->super.block_size;
    if (stored > 0 && !check_place(image, place, word)) return false;
    const unsigned char *at = NULL;
    if (stored > 0 && is_wanted(image, length)) {
      size_t got;
      if (!read_block(image, place, word, length, image->block, &got)) return false;
      at = image->block;
    }
    if (!tell(image, at, length)) return false;
    place += stored;
    left -= length;
  }
  return left == 0 || read_tail(image, index, offset, (size_t)left);
}

// --- attributes ----------------------------------------------------------------------------------------------------------------

struct attributes {
  struct tar_attribute items[ATTRIBUTES_MOST];
  sqfs_xattr_entry_t *names[ATTRIBUTES_MOST];
  sqfs_xattr_value_t *values[ATTRIBUTES_MOST];
  size_t count, bytes;
};

static void free_attributes(struct attributes *attributes) {
  for (size_t i = 0; i < attributes->count; i++) {
    sqfs_free(attributes->names[i]);
    sqfs_free(attributes->values[i]);
  }
}

static int by_name(const void *one, const void *other) {
  const struct tar_attribute *a = one, *b = other;
  return strcmp(a->name, b->name);
}

static int read_attribute(struct image *image, struct attributes *attributes) {
  sqfs_xattr_entry_t *name = NULL;
  sqfs_xattr_value_t *value = NULL;
  int error = sqfs_xattr_reader_read_key(image->attributes, &name);
  if (error == 0) error = sqfs_xattr_reader_read_value(image->attributes, name, &value);
  if (error != 0) {
    sqfs_free(name);
    return error;
  }
  size_t i = attributes->count++, length = strlen((const char *)name->key);
  attributes->names[i] = name;
  attributes->values[i] = value;
  attributes->items[i] = (struct tar_attribute){(const char *)name->key, (const char *)value->value, length, value->size};
  attributes->bytes += length + value->size;
  return attributes->bytes > ATTRIBUTES_BYTES ? SQFS_ERROR_CORRUPTED : 0;
}

static bool read_attributes(struct image *image, const sqfs_inode_generic_t *inode, struct attributes *attributes) {
  uint32_t index;
  sqfs_xattr_id_t list = {0};
  attributes->count = attributes->bytes = 0;
  int error = sqfs_inode_get_xattr_index(inode, &index);
  if (error == 0 && index == NONE) return true;
  if (error == 0) error = sqfs_xattr_reader_get_desc(image->attributes, index, &list);
  if (error == 0 && list.count > ATTRIBUTES_MOST) error = SQFS_ERROR_CORRUPTED;
  if (error == 0 && list.count > 0) error = sqfs_xattr_reader_seek_kv(image->attributes, &list);
  for (uint32_t i = 0; i < list.count && error == 0; i++) error = read_attribute(image, attributes);
  qsort(attributes->items, attributes->count, sizeof attributes->items[0], by_name);
  return error == 0 || unreadable(image, "extended attributes", error);
}

// --- names ---------------------------------------------------------------------------------------------------------------------

// What it is, but for its attributes; how many names it says it has.
static bool describe(const struct image *image, const sqfs_inode_generic_t *inode, struct squashfs_name *name) {
  struct tar_entry *entry = &name->entry;
  *entry = (struct tar_entry){.mode = inode->base.mode & 07777, .mtime = inode->base.mod_time};
  name->links = 1;
  switch (inode->base.type) {
    case SQFS_INODE_DIR:
    case SQFS_INODE_EXT_DIR: entry->type = TAR_DIRECTORY; return true;
    case SQFS_INODE_EXT_FILE: name->links = inode->data.file_ext.nlink; __attribute__((fallthrough));
    case SQFS_INODE_FILE: entry->type = TAR_REGULAR; return sqfs_inode_get_file_size(inode, &entry->size) == 0 || wrong(image, "has no size");
    case SQFS_INODE_SLINK:
    case SQFS_INODE_EXT_SLINK:
      entry->type = TAR_SYMLINK;
      name->links = inode->data.slink.nlink;
      entry->link = (const char *)inode->extra;
      entry->link_length = inode->data.slink.target_size;
      return true;
    case SQFS_INODE_CDEV:
    case SQFS_INODE_EXT_CDEV: entry->type = TAR_CHARACTER; break;
    case SQFS_INODE_BDEV:
    case SQFS_INODE_EXT_BDEV: entry->type = TAR_BLOCK_DEVICE; break;
    case SQFS_INODE_FIFO:
    case SQFS_INODE_EXT_FIFO:
    case SQFS_INODE_SOCKET:
    case SQFS_INODE_EXT_SOCKET: entry->type = TAR_FIFO; break; // tar has no sockets
    default: return wrong(image, "is of no type that there is");
  }
  // Their inodes begin alike.
  name->links = inode->data.dev.nlink;
  return true;
}

static bool read_owner(const struct image *image, const sqfs_inode_generic_t *inode, struct squashfs_name *name) {
  return (sqfs_id_table_index_to_id(image->ids, inode->base.uid_idx, &name->uid) == 0 && sqfs_id_table_index_to_id(image->ids, inode->base.gid_idx, &name->gid) == 0) ||
         wrong(image, "has an owner that the table of owners does not hold");
}

// Whether the inode comes by for the first time.
static bool see(struct image *image, uint32_t number) {
  unsigned char bit = (unsigned char)(1U << number % 8);
  if ((image->seen[number / 8] & bit) != 0) return false;
  image->seen[number / 8] |= bit;
  image->inodes++;
  return true;
}

static bool visit_inode(struct image *image, const sqfs_inode_generic_t *inode, struct squashfs_name *name) {
  const struct squashfs_visitor *visitor = image->visitor;
  CLEANUP(free_attributes) struct attributes attributes;
  if (!read_attributes(image, inode, &attributes)) return false;
  name->entry.attributes = attributes.items;
  name->entry.attribute_count = attributes.count;
  if (!visitor->inode(visitor->to, name, image->why)) return false;
  return (name->entry.type != TAR_REGULAR || read_content(image, inode, name->entry.size)) && visitor->end(visitor->to, name, image->why);
}

// One name, at image->path.
static bool visit(struct image *image, const sqfs_inode_generic_t *inode, unsigned depth) {
  const struct squashfs_visitor *visitor = image->visitor;
  struct squashfs_name name = {.path = image->path.at == NULL ? "" : image->path.at, .length = image->path.length, .depth = depth, .number = inode->base.inode_number};
  if (!describe(image, inode, &name) || !read_owner(image, inode, &name)) return false;
  if (name.number == 0 || name.number > image->super.inode_count) return wrong(image, "has a number above the number of inodes");
  if (see(image, name.number)) return visit_inode(image, inode, &name);
  if (name.links <= 1 || name.entry.type == TAR_DIRECTORY) return wrong(image, "is another name of something that has only one");
  return visitor->again(visitor->to, &name, image->why);
}

// The directories in a directory, read when all its names have been: names that lie together have inodes that lie together.
struct below {
  struct directory {
    sqfs_inode_generic_t *inode;
    char *name;
  } *items;
  size_t count, room;
};

static void free_below(struct below *below) {
  for (size_t i = 0; i < below->count; i++) {
    sqfs_free(below->items[i].inode);
    free(below->items[i].name);
  }
  free(below->items);
}

static void add_below(struct below *below, sqfs_inode_generic_t *inode, const char *name, size_t length) {
  if (below->count == below->room) {
    below->room = below->room == 0 ? 16 : below->room * 2;
    below->items = memory_resize(below->items, below->room, sizeof *below->items);
  }
  below->items[below->count++] = (struct directory){inode, memory_copy(name, length)};
}

static void enter(struct image *image, const char *name, size_t length) {
  if (image->path.length > 0) buffer_byte(&image->path, '/');
  buffer_add(&image->path, name, length);
}

static void leave(struct image *image, size_t length) {
  image->path.length = length;
  if (image->path.at != NULL) image->path.at[length] = '\0';
}

static bool is_name(const char *name, size_t length) {
  return memchr(name, '/', length) == NULL && memchr(name, '\0', length) == NULL && !(length == 1 && name[0] == '.') &&
         !(length == 2 && name[0] == '.' && name[1] == '.');
}

// One name of the directory that is being read.
static bool read_name(struct image *image, const sqfs_dir_entry_t *entry, struct below *below, unsigned depth) {
  const char *name = (const char *)entry->name;
  size_t length = (size_t)entry->size + 1, before = image->path.length;
  if (!is_name(name, length)) return wrong(image, "holds a name that can't be one");
  sqfs_inode_generic_t *inode = NULL;
  int error = sqfs_dir_reader_get_inode(image->directories, &inode);
  enter(image, name, length);
  if (error != 0) return unreadable(image, "an inode", error);
  bool is_directory = inode->base.type == SQFS_INODE_DIR || inode->base.type == SQFS_INODE_EXT_DIR;
  bool fine = visit(image, inode, depth);
  leave(image, before);
  if (is_directory) add_below(below, inode, name, length);
  else sqfs_free(inode);
  return fine;
}

static bool read_directory(struct image *image, const sqfs_inode_generic_t *inode, unsigned depth) {
  CLEANUP(free_below) struct below below = {0};
  if (depth > DEPTH_MOST) return wrong(image, "lies too deep");
  int error = sqfs_dir_reader_open_dir(image->directories, inode, 0);
  while (error == 0) {
    sqfs_dir_entry_t *entry = NULL;
    error = sqfs_dir_reader_read(image->directories, &entry);
    if (error != 0) break;
    bool fine = read_name(image, entry, &below, depth + 1);
    sqfs_free(entry);
    if (!fine) return false;
  }
  if (error < 0) return unreadable(image, "a list of names", error);
  size_t before = image->path.length;
  for (size_t i = 0; i < below.count; i++) {
    enter(image, below.items[i].name, strlen(below.items[i].name));
    if (!read_directory(image, below.items[i].inode, depth + 1)) return false;
    leave(image, before);
  }
  return true;
}

static bool read_tree(struct image *image) {
  sqfs_inode_generic_t *root = NULL;
  int error = sqfs_dir_reader_get_root_inode(image->directories, &root);
  if (error != 0) return unreadable(image, "a root", error);
  bool fine = visit(image, root, 0) && read_directory(image, root, 0);
  sqfs_free(root);
  return fine;
}

bool squashfs_read(int fd, uint64_t size, const struct squashfs_visitor *visitor, struct squashfs_count *count, struct failure *why) {
  CLEANUP(close_image) struct image image = {.fd = fd, .size = size, .visitor = visitor, .why = why};
  image.file = (sqfs_file_t){.read_at = read_at, .write_at = write_at, .get_size = get_size, .truncate = truncate_to};
  bool fine = open_image(&image) && read_tree(&image);
  *count = (struct squashfs_count){image.inodes, image.super.inode_count};
  return fine;
}
