// Layers through the tar reader, the plan, the merger and the writer. What comes out is read again and must be a sound tree, the same
// whether it was merged with plans or without.
//
// Input: a byte of settings, then the layers. Raw: the bytes of an archive each, behind two bytes of length. Compact: entries of a few
// bytes, of which archives are made here, so that names meet.
#include "fuzz/fuzzing.h"
#include "merge/merger.h"
#include "tests/making.h"

#define LAYERS 4
#define OUTPUT_LIMIT ((size_t)4 << 20)
#define KEY UINT64_C(0x5eed)

// --- input ---------------------------------------------------------------------------------------------------------------------

struct bytes {
  const uint8_t *at;
  size_t left;
};

static uint8_t next(struct bytes *bytes) {
  if (bytes->left == 0) return 0;
  bytes->left--;
  return *bytes->at++;
}

// No mutation finds a checksum: what looks like a header gets its own.
static void sum_up_all(struct buffer *layer) {
  for (size_t start = 0; layer->length - start >= TAR_BLOCK; start += TAR_BLOCK)
    if (memcmp(layer->at + start + 257, "ustar", 5) == 0) tar_sum((unsigned char *)layer->at + start);
}

static void header(struct buffer *out, char flag, const struct buffer *name, const char *link, uint64_t size, unsigned mode) {
  unsigned char *block = tar_header(out, flag, name->at, link, size);
  tar_number(block + 100, 8, mode);
  tar_number(block + 136, 12, mode * 7);
  tar_sum(block);
}

static void name_of(struct bytes *bytes, struct buffer *name) {
  static const char *const parts[] = {"a", "b", "c", "d", ".wh.a", ".wh.b", ".wh.c", ".wh..wh..opq", ".", "..", "", ".wh.", ".wh..wh.x", ".wh...", "e", "f"};
  uint8_t count = next(bytes);
  buffer_text(name, "");
  for (unsigned i = 0; i < (count & 3U) + 1; i++) {
    if (i > 0) buffer_byte(name, '/');
    // One byte in sixteen leads to the odd ones.
    uint8_t which = next(bytes);
    buffer_text(name, parts[which < 240 ? which % 8 : which % 16]);
  }
  if ((count & 4U) != 0) buffer_byte(name, '/');
}

static void compact(struct bytes *bytes, struct buffer *out) {
  static const char flags[] = "00005512222213456S";
  AUTO_BUFFER name = {0}, link = {0};
  uint8_t kind = next(bytes), mode = next(bytes);
  char flag = flags[(kind & 63U) % (sizeof flags - 1)];
  name_of(bytes, &name);
  if (flag == '1') name_of(bytes, &link);
  if (flag == '2') buffer_text(&link, "a/b");
  if ((kind & 64U) != 0) {
    AUTO_BUFFER records = {0};
    static const char *const keys[] = {"SCHILY.xattr.user.a", "SCHILY.xattr.security.b", "path", "size", "GNU.sparse.major", "GNU.sparse.realsize",
      "GNU.sparse.map", "GNU.sparse.offset", "GNU.sparse.numbytes", "GNU.sparse.numblocks", "GNU.sparse.name", "mtime", "linkpath", "uid"};
    for (uint8_t n = next(bytes) & 7; n > 0; n--) {
      const char *key = keys[next(bytes) % COUNT_OF(keys)];
      size_t length = next(bytes) & 15U;
      if (length > bytes->left) length = bytes->left;
      pax_add(&records, key, (const char *)bytes->at, length);
      bytes->at += length;
      bytes->left -= length;
    }
    header(out, 'x', &name, "", records.length, 0644);
    tar_data(out, records.at == NULL ? "" : records.at, records.length);
  }
  size_t size = flag == '0' || flag == 'S' ? mode : 0;
  if (size > bytes->left) size = bytes->left;
  if (flag == '0' && (kind & 128U) == 0) size = size > 3 ? 3 : size;
  header(out, flag, &name, link.at == NULL ? "" : link.at, size, mode);
  if (size > 0) tar_data(out, (const char *)bytes->at, size);
  bytes->at += size;
  bytes->left -= size;
}

static size_t layers_of(const uint8_t *data, size_t size, bool raw, struct buffer *layers) {
  struct bytes bytes = {data, size};
  size_t count = 0;
  while (count < LAYERS && bytes.left > 0) {
    struct buffer *layer = &layers[count++];
    buffer_text(layer, "");
    if (raw) {
      size_t length = (size_t)next(&bytes) << 8;
      length |= next(&bytes);
      if (length > bytes.left) length = bytes.left;
      buffer_add(layer, bytes.at, length);
      bytes.at += length;
      bytes.left -= length;
      sum_up_all(layer);
    } else {
      for (uint8_t entries = next(&bytes) & 15; entries > 0 && bytes.left > 0; entries--) compact(&bytes, layer);
    }
  }
  return count;
}

// --- the merge -------------------------------------------------------------------------------------------------------------------

static const struct merge_limits limits = {{64, 1000, 2000}, 1000, 1 << 20, 1000, 1 << 20};

static bool take(void *to, const void *at, size_t length) {
  struct buffer *output = to;
  must(output->length + length <= OUTPUT_LIMIT);
  buffer_add(output, at, length);
  return true;
}

static enum merge_result merge(const struct buffer *layers, size_t count, size_t piece, bool planned, struct buffer *output, struct merge_summary *summary) {
  struct failure why = {0};
  struct writer *writer = writer_open((struct writer_output){take, output});
  struct merger *merger = merger_open(&limits, writer, KEY);
  enum merge_result result = MERGE_OK;
  for (size_t i = count; result == MERGE_OK && i-- > 0;) {
    struct pieces source = {layers[i].at, layers[i].length, piece, NULL};
    struct plan *plan = NULL;
    if (planned) {
      struct pieces ahead = source;
      plan = plan_make((struct tar_input){pieces_more, &ahead}, &limits.path, KEY, &why);
      free(ahead.copy);
      if (plan == NULL) result = MERGE_FAULT;
    }
    if (result == MERGE_OK) result = merger_layer(merger, (int)i, UINT64_C(1) << 19, plan, (struct tar_input){pieces_more, &source}, &why);
    free(source.copy);
    plan_free(&plan);
  }
  if (result == MERGE_OK) result = merger_end(merger, summary);
  must(!planned || result != MERGE_PLAN_NEEDED);
  must(result != MERGE_OUTPUT_ENDED);
  if (result == MERGE_FAULT) must(why.what[0] != '\0' && error_exit(why.code) != 0);
  merger_close(&merger);
  writer_close(&writer);
  return result;
}

// --- what came out ---------------------------------------------------------------------------------------------------------------

struct found {
  char *name, *link;
  enum tar_type type;
  uint32_t mode;
  int64_t mtime;
  uint64_t size, sum;
  size_t group; // of a hard link and its origin: the smallest name's place
};

struct result_tree {
  struct found *items;
  size_t count;
};

static int by_name(const void *one, const void *other) {
  return strcmp(((const struct found *)one)->name, ((const struct found *)other)->name);
}

static struct found *look_up(struct found *items, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(items[i].name, name) == 0) return &items[i];
  return NULL;
}

static bool is_clean(const char *name) {
  if (strcmp(name, ".") == 0) return true;
  for (;;) {
    size_t length = strcspn(name, "/");
    if (length == 0 || length > 255 || (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'))) || strncmp(name, ".wh.", 4) == 0) return false;
    if (name[length] == '\0') return true;
    name += length + 1;
  }
}

static void read_back(const struct buffer *output, const struct merge_summary *summary, struct result_tree *tree) {
  must(output->length % TAR_BLOCK == 0);
  struct pieces source = {output->at, output->length, 4096, NULL};
  struct tar_reader *reader = tar_open((struct tar_input){pieces_more, &source});
  struct failure why = {0};
  const struct tar_entry *entry;
  enum tar_step step;
  uint64_t inodes = 1;
  while ((step = tar_next(reader, &entry, &why)) == TAR_ENTRY) {
    tree->items = memory_resize(tree->items, tree->count + 1, sizeof *tree->items);
    struct found found = {.type = entry->type, .mode = entry->mode, .mtime = entry->mtime, .size = entry->size, .sum = UINT64_C(1469598103934665603)};
    size_t length = entry->name_length;
    must(length > 0 && entry->name[0] != '/');
    if (entry->name[length - 1] == '/') length--;
    must((entry->name_length != length) == (entry->type == TAR_DIRECTORY));
    found.name = memory_copy(entry->name, length);
    found.link = memory_copy(entry->link, entry->link_length);
    must(is_clean(found.name));
    must(entry->type == TAR_REGULAR || entry->type == TAR_LINK || entry->type == TAR_SYMLINK || entry->type == TAR_DIRECTORY);
    must((entry->mode & 06000) == 0);
    must(look_up(tree->items, tree->count, found.name) == NULL);
    if (entry->type != TAR_LINK && strcmp(found.name, ".") != 0) inodes++;
    if (entry->type == TAR_LINK) {
      const struct found *origin = look_up(tree->items, tree->count, found.link);
      must(origin != NULL && origin->type != TAR_DIRECTORY && origin->type != TAR_LINK);
    }
    for (size_t i = 0; i < entry->attribute_count; i++) {
      const struct tar_attribute *each = &entry->attributes[i];
      must(strncmp(each->name, "user.", 5) == 0 && strncmp(each->name, "user.overlay.", 13) != 0);
      for (size_t k = 0; k < each->value_length; k++) found.sum = (found.sum ^ (unsigned char)each->value[k]) * UINT64_C(1099511628211);
    }
    for (;;) {
      const unsigned char *at;
      uint64_t taken;
      must(tar_content(reader, &at, &taken, &why));
      if (taken == 0) break;
      must(at != NULL);
      for (uint64_t k = 0; k < taken; k++) found.sum = (found.sum ^ at[k]) * UINT64_C(1099511628211);
    }
    tree->items[tree->count++] = found;
  }
  must(step == TAR_END);
  must(inodes == summary->inodes);
  tar_close(&reader);
  free(source.copy);
  if (tree->count > 0) qsort(tree->items, tree->count, sizeof *tree->items, by_name);
  for (size_t i = 0; i < tree->count; i++) {
    struct found *each = &tree->items[i], *origin = each->type == TAR_LINK ? look_up(tree->items, tree->count, each->link) : each;
    must(origin != NULL);
    if (origin->group == 0) origin->group = i + 1;
    each->group = origin->group;
    each->type = origin->type;
    each->mode = origin->mode;
    each->mtime = origin->mtime;
    each->size = origin->size;
    each->sum = origin->sum;
    // Whatever stands above an entry is a directory, and stated.
    for (char *slash = strchr(each->name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
      *slash = '\0';
      const struct found *parent = look_up(tree->items, tree->count, each->name);
      *slash = '/';
      must(parent != NULL && parent->type == TAR_DIRECTORY);
    }
  }
}

static void tree_free(struct result_tree *tree) {
  for (size_t i = 0; i < tree->count; i++) {
    free(tree->items[i].name);
    free(tree->items[i].link);
  }
  free(tree->items);
}

static void same(const struct result_tree *one, const struct result_tree *other) {
  must(one->count == other->count);
  for (size_t i = 0; i < one->count; i++) {
    const struct found *a = &one->items[i], *b = &other->items[i];
    must(strcmp(a->name, b->name) == 0 && a->type == b->type && a->mode == b->mode && a->mtime == b->mtime && a->size == b->size && a->sum == b->sum &&
         a->group == b->group);
    must(a->type != TAR_SYMLINK || strcmp(a->link, b->link) == 0 || a->group != i + 1);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  struct buffer layers[LAYERS] = {{0}};
  static const size_t pieces[] = {1, 7, 511, 512, 513, 4096, 65536, 1024};
  size_t count = layers_of(data + 1, size - 1, (data[0] & 1) != 0, layers);
  struct result_tree trees[2] = {{0}};
  enum merge_result results[2];
  struct merge_summary summaries[2] = {{0}};
  for (int planned = 0; planned < 2; planned++) {
    AUTO_BUFFER output = {0};
    results[planned] = merge(layers, count, pieces[data[0] >> 5], planned == 1, &output, &summaries[planned]);
    if (results[planned] == MERGE_OK) read_back(&output, &summaries[planned], &trees[planned]);
  }
  if (results[0] == MERGE_OK && results[1] == MERGE_OK) {
    must(summaries[0].inodes == summaries[1].inodes && summaries[0].dropped == summaries[1].dropped);
    same(&trees[0], &trees[1]);
  }
  for (int planned = 0; planned < 2; planned++) tree_free(&trees[planned]);
  for (size_t i = 0; i < LAYERS; i++) buffer_free(&layers[i]);
  return 0;
}
