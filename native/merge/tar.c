#include "merge/tar.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Extended headers above this are refused; an extended attribute of Linux has at most 64 KiB.
#define EXTENSION_LIMIT ((uint64_t)1 << 20)
#define EXTENTS_LIMIT 100000
#define SIZE_LIMIT (UINT64_C(1) << 60)

enum given { GIVEN_PATH = 1, GIVEN_LINKPATH = 2, GIVEN_SIZE = 4, GIVEN_MTIME = 8, GIVEN_LONG_NAME = 16, GIVEN_LONG_LINK = 32,
  GIVEN_SPARSE_MAJOR = 64, GIVEN_SPARSE_MINOR = 128, GIVEN_SPARSE_BLOCKS = 256, GIVEN_SPARSE_MAP = 512, GIVEN_SPARSE_NAME = 1024,
  GIVEN_SPARSE_SIZE = 2048, GIVEN_SPARSE_OFFSET = 4096 };

// What extended headers say of the entry that follows.
struct overrides {
  unsigned given;
  struct buffer path, link;
  uint64_t size;
  int64_t mtime;
  struct buffer attributes; // NAME\0 LENGTH VALUE, one behind the other
  size_t attribute_count;
  // Sparse files of pax, formats 0.0, 0.1 and 1.0.
  bool sparse, map_in_content;
  uint64_t sparse_size, sparse_blocks;
  struct buffer sparse_name;
  struct tar_extent *extents;
  size_t extent_count, extent_room;
  bool offset_pending;
};

struct tar_reader {
  struct tar_input input;
  const unsigned char *at, *end;
  unsigned char held[TAR_BLOCK];
  struct overrides overrides;
  bool global_mtime_given;
  int64_t global_mtime;
  struct tar_entry entry;
  struct buffer name, link;
  struct tar_attribute *attributes;
  size_t attribute_room;
  uint64_t stored; // bytes of the content left in the archive
  unsigned padding;
  bool sparse;
  struct tar_extent *extents;
  size_t extent_count, extent;
  uint64_t position; // in the file, for sparse ones
  bool extending;    // an extended header waits for its entry
};

const char *tar_type_name(enum tar_type type) {
  static const char *const names[] = {"regular file", "hard link", "symbolic link", "character device", "block device", "directory", "FIFO"};
  return names[type];
}

bool tar_fault(struct failure *why, const char *name, size_t length, const char *format, ...) {
  char what[256];
  va_list list;
  va_start(list, format);
  vsnprintf(what, sizeof what, format, list);
  va_end(list);
  AUTO_BUFFER shown = {0};
  buffer_add(&shown, name, length > 200 ? 200 : length);
  if (length > 200) buffer_text(&shown, "...");
  return fail(why, ERROR_LAYER_INVALID, "entry \"%s\": %s", shown.at, what);
}

// --- input ---------------------------------------------------------------------------------------------------------------------

struct tar_reader *tar_open(struct tar_input input) {
  struct tar_reader *reader = memory_get(1, sizeof *reader);
  reader->input = input;
  return reader;
}

static void overrides_clear(struct overrides *overrides) {
  buffer_free(&overrides->path);
  buffer_free(&overrides->link);
  buffer_free(&overrides->attributes);
  buffer_free(&overrides->sparse_name);
  free(overrides->extents);
  *overrides = (struct overrides){0};
}

void tar_close(struct tar_reader **reader) {
  struct tar_reader *each = *reader;
  if (each == NULL) return;
  overrides_clear(&each->overrides);
  buffer_free(&each->name);
  buffer_free(&each->link);
  free(each->attributes);
  free(each->extents);
  free(each);
  *reader = NULL;
}

static bool fault(struct tar_reader *reader, struct failure *why, const char *what) {
  return tar_fault(why, reader->name.at == NULL ? "" : reader->name.at, reader->name.length, "%s", what);
}

static bool fill(struct tar_reader *reader, bool *ended, struct failure *why) {
  size_t length = 0;
  if (!reader->input.more(reader->input.from, &reader->at, &length, why)) return false;
  reader->end = reader->at + length;
  *ended = length == 0;
  return true;
}

static bool cut(struct tar_reader *reader, struct failure *why) {
  return reader->name.length == 0 ? fail(why, ERROR_LAYER_INVALID, "the archive ends in the middle of a header")
                                  : fault(reader, why, "the archive ends in the middle of it");
}

// A block, in place where it lies whole in the piece at hand; NULL at the end.
static bool block(struct tar_reader *reader, const unsigned char **at, struct failure *why) {
  *at = NULL;
  if (reader->end - reader->at >= TAR_BLOCK) {
    *at = reader->at;
    reader->at += TAR_BLOCK;
    return true;
  }
  for (size_t held = 0; held < TAR_BLOCK;) {
    bool ended = false;
    if (reader->at == reader->end && !fill(reader, &ended, why)) return false;
    if (ended) return held == 0 ? true : cut(reader, why);
    size_t room = TAR_BLOCK - held, left = (size_t)(reader->end - reader->at), taken = left < room ? left : room;
    memcpy(reader->held + held, reader->at, taken);
    reader->at += taken;
    held += taken;
  }
  *at = reader->held;
  return true;
}

// At most `most` bytes that lie together.
static bool piece(struct tar_reader *reader, uint64_t most, const unsigned char **at, size_t *length, struct failure *why) {
  bool ended = false;
  *at = NULL;
  *length = 0;
  if (reader->at == reader->end && !fill(reader, &ended, why)) return false;
  if (ended) return cut(reader, why);
  size_t left = (size_t)(reader->end - reader->at);
  *at = reader->at;
  *length = most < left ? (size_t)most : left;
  reader->at += *length;
  return true;
}

static bool skip(struct tar_reader *reader, uint64_t length, struct failure *why) {
  while (length > 0) {
    const unsigned char *at;
    size_t taken;
    if (!piece(reader, length, &at, &taken, why)) return false;
    length -= taken;
  }
  return true;
}

static bool take(struct tar_reader *reader, size_t length, struct buffer *into, struct failure *why) {
  while (length > 0) {
    const unsigned char *at;
    size_t taken;
    if (!piece(reader, length, &at, &taken, why)) return false;
    buffer_add(into, at, taken);
    length -= taken;
  }
  return true;
}

// --- fields --------------------------------------------------------------------------------------------------------------------

// Big-endian two's complement below a marker bit; not negative but for times.
static bool base256(const unsigned char *field, size_t length, bool may_be_negative, int64_t *value) {
  bool negative = field[0] == 0xff;
  if ((negative && !may_be_negative) || (!negative && field[0] != 0x80)) return false;
  uint64_t bits = negative ? UINT64_MAX : 0;
  for (size_t i = 1; i < length; i++) {
    if (bits >> 55 != (negative ? 0x1ff : 0)) return false;
    bits = bits << 8 | field[i];
  }
  *value = (int64_t)bits;
  return negative == (*value < 0);
}

static bool number(const unsigned char *field, size_t length, bool may_be_negative, int64_t *value) {
  if ((field[0] & 0x80) != 0) return base256(field, length, may_be_negative, value);
  uint64_t found = 0;
  size_t i = 0;
  while (i < length && field[i] == ' ') i++;
  for (; i < length && field[i] != '\0' && field[i] != ' '; i++) {
    if (field[i] < '0' || field[i] > '7') return false;
    found = found << 3 | (uint64_t)(field[i] - '0'); // at most 12 digits
  }
  *value = (int64_t)found;
  return true;
}

// The sum of the header's bytes, its own field counted as blanks. Old writers summed signed bytes.
static bool checksum_holds(const unsigned char *b) {
  uint32_t sum = 0, high = 0;
  for (size_t i = 0; i < TAR_BLOCK; i++) sum += b[i];
  for (size_t i = 0; i < TAR_BLOCK; i++) high += b[i] >> 7;
  for (size_t i = 148; i < 156; i++) {
    sum += 0x20U - b[i];
    high -= b[i] >> 7;
  }
  int64_t stated;
  return number(b + 148, 8, false, &stated) && (stated == (int64_t)sum || stated == (int64_t)sum - 256 * (int64_t)high);
}

static bool is_zero(const unsigned char *b) {
  return b[0] == 0 && memcmp(b, b + 1, TAR_BLOCK - 1) == 0;
}

static void set_text(struct buffer *buffer, const void *at, size_t length) {
  buffer->length = 0;
  buffer_add(buffer, at, length);
}

// --- pax -----------------------------------------------------------------------------------------------------------------------

static bool decimal(const char *at, size_t length, uint64_t *value) {
  return number_parse(at, length, SIZE_LIMIT, true, value);
}

// Seconds, perhaps with a fraction, which is cut off downwards.
static bool pax_time(const char *at, size_t length, int64_t *seconds) {
  bool negative = length > 0 && at[0] == '-';
  const char *digits = at + negative, *end = at + length, *point = memchr(digits, '.', (size_t)(end - digits));
  uint64_t whole;
  size_t count = (size_t)((point == NULL ? end : point) - digits);
  if (count > 15 || !number_parse(digits, count, UINT64_C(999999999999999), true, &whole)) return false;
  bool fraction = false;
  for (const char *digit = point == NULL ? end : point + 1; digit < end; digit++) {
    if (*digit < '0' || *digit > '9') return false;
    fraction |= *digit != '0';
  }
  *seconds = negative ? -(int64_t)whole - fraction : (int64_t)whole;
  return true;
}

static bool add_extent(struct overrides *o, uint64_t offset, uint64_t length) {
  if (o->extent_count == EXTENTS_LIMIT) return false;
  if (o->extent_count == o->extent_room) {
    o->extent_room = o->extent_room == 0 ? 16 : o->extent_room * 2;
    o->extents = memory_resize(o->extents, o->extent_room, sizeof *o->extents);
  }
  o->extents[o->extent_count++] = (struct tar_extent){offset, length};
  return true;
}

// "offset,length,offset,length": the map of format 0.1.
static bool sparse_map(struct overrides *o, const char *at, size_t length) {
  const char *end = at + length;
  uint64_t offset = 0;
  for (bool is_offset = true; at <= end; is_offset = !is_offset) {
    const char *comma = memchr(at, ',', (size_t)(end - at));
    if (comma == NULL) comma = end;
    uint64_t value;
    if (!decimal(at, (size_t)(comma - at), &value)) return false;
    if (is_offset) offset = value;
    else if (!add_extent(o, offset, value)) return false;
    at = comma + 1;
    if (comma == end) return !is_offset;
  }
  return false;
}

static bool once(struct overrides *o, enum given key) {
  bool first = (o->given & key) == 0;
  o->given |= key;
  return first;
}

static bool pax_text(struct overrides *o, enum given key, struct buffer *into, const char *value, size_t length) {
  if (!once(o, key) || length == 0 || memchr(value, 0, length) != NULL) return false;
  set_text(into, value, length);
  return true;
}

static bool sparse_record(struct overrides *o, const char *key, const char *value, size_t length) {
  uint64_t n = 0;
  o->sparse = true;
  if (strcmp(key, "major") == 0) {
    if (!once(o, GIVEN_SPARSE_MAJOR) || !decimal(value, length, &n) || n > 1) return false;
    o->map_in_content = n == 1;
    return true;
  }
  if (strcmp(key, "minor") == 0) return once(o, GIVEN_SPARSE_MINOR) && decimal(value, length, &n) && n <= 1;
  if (strcmp(key, "numblocks") == 0) return once(o, GIVEN_SPARSE_BLOCKS) && decimal(value, length, &o->sparse_blocks);
  if (strcmp(key, "map") == 0) {
    if ((o->given & GIVEN_SPARSE_OFFSET) != 0 || !once(o, GIVEN_SPARSE_MAP)) return false;
    return length == 0 || sparse_map(o, value, length);
  }
  if (strcmp(key, "name") == 0) return pax_text(o, GIVEN_SPARSE_NAME, &o->sparse_name, value, length);
  if (strcmp(key, "size") == 0 || strcmp(key, "realsize") == 0) return once(o, GIVEN_SPARSE_SIZE) && decimal(value, length, &o->sparse_size);
  if (strcmp(key, "offset") == 0) {
    if ((o->given & GIVEN_SPARSE_MAP) != 0 || o->offset_pending || !decimal(value, length, &n)) return false;
    o->given |= GIVEN_SPARSE_OFFSET;
    o->offset_pending = true;
    return add_extent(o, n, 0);
  }
  if (strcmp(key, "numbytes") == 0) {
    if (!o->offset_pending || !decimal(value, length, &n)) return false;
    o->offset_pending = false;
    o->extents[o->extent_count - 1].length = n;
    return true;
  }
  return false;
}

static bool attribute(struct overrides *o, const char *name, const char *value, size_t length) {
  for (size_t at = 0; at < o->attributes.length;) {
    const char *other = o->attributes.at + at;
    size_t name_length = strlen(other), value_length;
    if (strcmp(other, name) == 0) return false;
    memcpy(&value_length, other + name_length + 1, sizeof value_length);
    at += name_length + 1 + sizeof value_length + value_length;
  }
  if (++o->attribute_count > 100) return false;
  buffer_add(&o->attributes, name, strlen(name) + 1);
  buffer_add(&o->attributes, &length, sizeof length);
  buffer_add(&o->attributes, value, length);
  return true;
}

static bool pax_record(struct tar_reader *reader, const char *key, const char *value, size_t length) {
  static const char xattr[] = "SCHILY.xattr.", sparse[] = "GNU.sparse.";
  struct overrides *o = &reader->overrides;
  if (strcmp(key, "path") == 0) return pax_text(o, GIVEN_PATH, &o->path, value, length);
  if (strcmp(key, "linkpath") == 0) return pax_text(o, GIVEN_LINKPATH, &o->link, value, length);
  if (strcmp(key, "size") == 0) return once(o, GIVEN_SIZE) && decimal(value, length, &o->size);
  if (strcmp(key, "mtime") == 0) return once(o, GIVEN_MTIME) && pax_time(value, length, &o->mtime);
  if (strncmp(key, xattr, sizeof xattr - 1) == 0) return attribute(o, key + sizeof xattr - 1, value, length);
  if (strncmp(key, sparse, sizeof sparse - 1) == 0) return sparse_record(o, key + sizeof sparse - 1, value, length);
  return true;
}

// What a global header says holds for all that follow, so that only a time may be said: a name or size for all can't be right.
static bool global_record(struct tar_reader *reader, const char *key, const char *value, size_t length) {
  if (strcmp(key, "mtime") == 0) {
    reader->global_mtime_given = true;
    return pax_time(value, length, &reader->global_mtime);
  }
  return strcmp(key, "path") != 0 && strcmp(key, "linkpath") != 0 && strcmp(key, "size") != 0 && strncmp(key, "GNU.sparse.", 11) != 0;
}

// `LENGTH KEY=VALUE\n`, LENGTH counting itself.
static bool pax_records(struct tar_reader *reader, const struct buffer *records, bool global, struct failure *why) {
  for (size_t start = 0; start < records->length;) {
    const char *at = records->at + start;
    size_t left = records->length - start;
    const char *blank = memchr(at, ' ', left > 10 ? 10 : left);
    uint64_t length = 0;
    if (blank == NULL || !number_parse(at, (size_t)(blank - at), left, false, &length) || length < (size_t)(blank - at) + 3 ||
        at[length - 1] != '\n')
      return fault(reader, why, "its pax header is malformed");
    const char *key = blank + 1, *end = at + length - 1, *equals = memchr(key, '=', (size_t)(end - key));
    if (equals == NULL || equals == key || memchr(key, 0, (size_t)(equals - key)) != NULL) return fault(reader, why, "its pax header is malformed");
    AUTO_BUFFER name = {0};
    buffer_add(&name, key, (size_t)(equals - key));
    bool fine = global ? global_record(reader, name.at, equals + 1, (size_t)(end - equals - 1))
                       : pax_record(reader, name.at, equals + 1, (size_t)(end - equals - 1));
    if (!fine) {
      AUTO_BUFFER shown = {0};
      buffer_add(&shown, name.at, name.length > 60 ? 60 : name.length);
      return tar_fault(why, reader->name.at, reader->name.length,
        "its pax %s is malformed, out of range, said twice or not for a %s header", shown.at, global ? "global" : "pax");
    }
    start += length;
  }
  return true;
}

// --- sparse --------------------------------------------------------------------------------------------------------------------

// Extents must rise, and lie inside the file; together they are what the archive holds.
static bool extents_hold(const struct tar_extent *extents, size_t count, uint64_t size, uint64_t stored) {
  uint64_t position = 0, sum = 0;
  for (size_t i = 0; i < count; i++) {
    if (extents[i].offset < position || extents[i].length > SIZE_LIMIT || extents[i].offset > size || extents[i].length > size - extents[i].offset) return false;
    position = extents[i].offset + extents[i].length;
    sum += extents[i].length;
  }
  return sum == stored;
}

// GNU's own form: four extents in the header, then blocks of 21.
static bool old_sparse(struct tar_reader *reader, const unsigned char *b, struct failure *why) {
  struct overrides *o = &reader->overrides;
  if (o->sparse) return fault(reader, why, "it is a sparse file in two forms at once");
  int64_t size, offset, length;
  if (!number(b + 483, 12, false, &size) || (uint64_t)size > SIZE_LIMIT) return fault(reader, why, "its size as a sparse file is not a number");
  bool more = b[482] != 0;
  size_t count = 4;
  const unsigned char *map = b + 386;
  for (;;) {
    for (size_t i = 0; i < count; i++) {
      const unsigned char *field = map + i * 24;
      if (field[0] == 0) continue;
      if (!number(field, 12, false, &offset) || !number(field + 12, 12, false, &length) || !add_extent(o, (uint64_t)offset, (uint64_t)length))
        return fault(reader, why, "its sparse map is malformed or too long");
    }
    if (!more) break;
    if (!block(reader, &map, why)) return false;
    if (map == NULL) return cut(reader, why);
    more = map[504] != 0;
    count = 21;
  }
  o->sparse = true;
  o->sparse_size = (uint64_t)size;
  o->given |= GIVEN_SPARSE_SIZE;
  return true;
}

// Format 1.0: the content starts with the map, decimal lines in whole blocks.
static bool map_line(struct tar_reader *reader, const unsigned char **at, const unsigned char **end, uint64_t *value, struct failure *why) {
  char digits[24];
  size_t count = 0;
  for (;;) {
    if (*at == *end) {
      if (reader->stored < TAR_BLOCK) return fault(reader, why, "its sparse map is cut");
      if (!block(reader, at, why)) return false;
      if (*at == NULL) return cut(reader, why);
      *end = *at + TAR_BLOCK;
      reader->stored -= TAR_BLOCK;
    }
    char c = (char)*(*at)++;
    if (c == '\n') break;
    if (count == sizeof digits) return fault(reader, why, "its sparse map is malformed");
    digits[count++] = c;
  }
  return decimal(digits, count, value) || fault(reader, why, "its sparse map is malformed");
}

static bool content_map(struct tar_reader *reader, struct failure *why) {
  struct overrides *o = &reader->overrides;
  const unsigned char *at = NULL, *end = NULL;
  uint64_t count, offset, length;
  if (o->extent_count > 0) return fault(reader, why, "it has two sparse maps");
  if (!map_line(reader, &at, &end, &count, why)) return false;
  for (uint64_t i = 0; i < count; i++) {
    if (!map_line(reader, &at, &end, &offset, why) || !map_line(reader, &at, &end, &length, why)) return false;
    if (!add_extent(o, offset, length)) return fault(reader, why, "its sparse map is too long");
  }
  return true;
}

static bool make_sparse(struct tar_reader *reader, struct failure *why) {
  struct overrides *o = &reader->overrides;
  if (o->map_in_content && !content_map(reader, why)) return false;
  if ((o->given & GIVEN_SPARSE_SIZE) == 0 || o->offset_pending) return fault(reader, why, "it is a sparse file without a size or with half a map");
  if ((o->given & GIVEN_SPARSE_BLOCKS) != 0 && o->sparse_blocks != o->extent_count)
    return fault(reader, why, "its sparse map does not have the blocks it states");
  if (!extents_hold(o->extents, o->extent_count, o->sparse_size, reader->stored))
    return fault(reader, why, "its sparse map does not fit its size");
  free(reader->extents);
  reader->extents = o->extents;
  reader->extent_count = o->extent_count;
  o->extents = NULL;
  reader->sparse = true;
  reader->entry.size = o->sparse_size;
  return true;
}

// --- entries -------------------------------------------------------------------------------------------------------------------

static bool type_of(struct tar_reader *reader, unsigned char flag, uint64_t size, struct failure *why) {
  switch (flag) {
    case '0':
    case '\0':
    case '7':
    case 'S': {
      // Before ustar a directory was a file whose name ends with a slash. Readers differ where it has another flag, or content.
      bool slash = reader->name.length > 0 && reader->name.at[reader->name.length - 1] == '/';
      reader->entry.type = slash ? TAR_DIRECTORY : TAR_REGULAR;
      return !slash || (flag == '\0' && size == 0) || fault(reader, why, "it is a regular file, but its name ends with a slash");
    }
    case '1': reader->entry.type = TAR_LINK; return true;
    case '2': reader->entry.type = TAR_SYMLINK; return true;
    case '3': reader->entry.type = TAR_CHARACTER; return true;
    case '4': reader->entry.type = TAR_BLOCK_DEVICE; return true;
    case '5': reader->entry.type = TAR_DIRECTORY; return true;
    case '6': reader->entry.type = TAR_FIFO; return true;
    default: return tar_fault(why, reader->name.at, reader->name.length, "its type flag 0x%x is not known", flag);
  }
}

static bool extension(struct tar_reader *reader, unsigned char flag, uint64_t size, struct failure *why) {
  struct overrides *o = &reader->overrides;
  if (size > EXTENSION_LIMIT)
    return tar_fault(why, reader->name.at, reader->name.length, "its extended header has %llu bytes, more than %llu", (unsigned long long)size,
      (unsigned long long)EXTENSION_LIMIT);
  AUTO_BUFFER content = {0};
  buffer_add(&content, "", 0);
  if (!take(reader, (size_t)size, &content, why) || !skip(reader, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK, why)) return false;
  if (flag != 'g') reader->extending = true;
  if (flag == 'x' || flag == 'g') return pax_records(reader, &content, flag == 'g', why);
  size_t length = strnlen(content.at, content.length);
  struct buffer *into = flag == 'L' ? &o->path : &o->link;
  if (length == 0 || !once(o, flag == 'L' ? GIVEN_LONG_NAME : GIVEN_LONG_LINK)) return fault(reader, why, "its long name is empty or said twice");
  if ((o->given & (flag == 'L' ? GIVEN_PATH : GIVEN_LINKPATH)) != 0) return fault(reader, why, "its name is said by pax and by GNU's form");
  set_text(into, content.at, length);
  return true;
}

static void list_attributes(struct tar_reader *reader) {
  struct overrides *o = &reader->overrides;
  reader->entry.attribute_count = o->attribute_count;
  if (o->attribute_count > reader->attribute_room) {
    reader->attribute_room = o->attribute_count;
    reader->attributes = memory_resize(reader->attributes, reader->attribute_room, sizeof *reader->attributes);
  }
  const char *at = o->attributes.at;
  for (size_t i = 0; i < o->attribute_count; i++) {
    struct tar_attribute *each = &reader->attributes[i];
    each->name = at;
    each->name_length = strlen(at);
    memcpy(&each->value_length, at + each->name_length + 1, sizeof each->value_length);
    each->value = at + each->name_length + 1 + sizeof each->value_length;
    at = each->value + each->value_length;
  }
  reader->entry.attributes = reader->attributes;
}

static void header_name(struct tar_reader *reader, const unsigned char *b) {
  const char *text = (const char *)b;
  reader->name.length = 0;
  // "ustar\0" has a prefix field; GNU's "ustar  \0" uses those bytes for other things.
  if (b[345] != 0 && memcmp(b + 257, "ustar", 6) == 0) {
    buffer_add(&reader->name, text + 345, strnlen(text + 345, 155));
    buffer_byte(&reader->name, '/');
  }
  buffer_add(&reader->name, text, strnlen(text, 100));
}

static bool header(struct tar_reader *reader, const unsigned char *in, bool *is_entry, struct failure *why) {
  struct overrides *o = &reader->overrides;
  unsigned char b[TAR_BLOCK]; // further blocks may be read while this one is in use
  memcpy(b, in, sizeof b);
  unsigned char flag = b[156];
  int64_t size, mode, mtime;
  *is_entry = false;
  header_name(reader, b);
  if (!checksum_holds(b)) return fault(reader, why, "its header checksum is wrong");
  if (!number(b + 124, 12, false, &size)) return fault(reader, why, "its size is negative or not a number");
  if (flag == 'L' || flag == 'K' || flag == 'x' || flag == 'g') return extension(reader, flag, (uint64_t)size, why);

  *is_entry = true;
  reader->extending = false;
  struct tar_entry *entry = &reader->entry;
  set_text(&reader->link, b + 157, strnlen((const char *)b + 157, 100));
  if ((o->given & (GIVEN_PATH | GIVEN_LONG_NAME)) != 0) set_text(&reader->name, o->path.at, o->path.length);
  if ((o->given & GIVEN_SPARSE_NAME) != 0) set_text(&reader->name, o->sparse_name.at, o->sparse_name.length);
  if ((o->given & (GIVEN_LINKPATH | GIVEN_LONG_LINK)) != 0) set_text(&reader->link, o->link.at, o->link.length);
  if (!number(b + 100, 8, false, &mode) || !number(b + 136, 12, true, &mtime)) return fault(reader, why, "its mode or modification time is not a number");
  int64_t ignored;
  if (!number(b + 108, 8, false, &ignored) || !number(b + 116, 8, false, &ignored)) return fault(reader, why, "its owner is negative or not a number");
  uint64_t stored = (o->given & GIVEN_SIZE) != 0 ? o->size : (uint64_t)size;
  if (!type_of(reader, flag, stored, why)) return false;
  entry->name = reader->name.at;
  entry->name_length = reader->name.length;
  entry->link = reader->link.at;
  entry->link_length = reader->link.length;
  entry->mode = (uint32_t)mode & 07777;
  entry->mtime = (o->given & GIVEN_MTIME) != 0 ? o->mtime : reader->global_mtime_given ? reader->global_mtime : mtime;
  entry->size = 0;
  list_attributes(reader);
  if (entry->type != TAR_REGULAR) {
    // A link may state its target's size, a directory what its writer liked: only files have content.
    if (o->sparse) return fault(reader, why, "it is sparse, but no regular file");
    return true;
  }
  reader->stored = stored;
  if (reader->stored > SIZE_LIMIT) return fault(reader, why, "its size is out of range");
  reader->padding = (unsigned)((TAR_BLOCK - reader->stored % TAR_BLOCK) % TAR_BLOCK);
  entry->size = reader->stored;
  if (flag == 'S' && !old_sparse(reader, b, why)) return false;
  return !o->sparse || make_sparse(reader, why);
}

// What is left of an entry's content and its padding. Some builders (`umoci insert`) write neither the last padding nor an end mark.
static bool finish_entry(struct tar_reader *reader, struct failure *why) {
  bool ended = false;
  if (!skip(reader, reader->stored, why)) return false;
  reader->stored = 0;
  if (reader->padding > 0 && reader->at == reader->end && !fill(reader, &ended, why)) return false;
  if (!ended && !skip(reader, reader->padding, why)) return false;
  reader->padding = 0;
  reader->sparse = false;
  reader->extent = 0;
  reader->position = 0;
  return true;
}

enum tar_step tar_next(struct tar_reader *reader, const struct tar_entry **entry, struct failure *why) {
  if (!finish_entry(reader, why)) return TAR_FAULT;
  overrides_clear(&reader->overrides);
  for (size_t zeros = 0;;) {
    const unsigned char *b;
    if (!block(reader, &b, why)) return TAR_FAULT;
    if (b == NULL) {
      if (!reader->extending) return TAR_END;
      cut(reader, why);
      return TAR_FAULT;
    }
    if (is_zero(b)) {
      // What follows the end mark is no part of the archive: tar itself pads to records of 10 KiB.
      if (++zeros < 2) continue;
      if (!reader->extending) return TAR_END;
      cut(reader, why);
      return TAR_FAULT;
    }
    if (zeros > 0) {
      fail(why, ERROR_LAYER_INVALID, "a header follows the end mark of the archive");
      return TAR_FAULT;
    }
    bool is_entry;
    if (!header(reader, b, &is_entry, why)) return TAR_FAULT;
    if (is_entry) {
      *entry = &reader->entry;
      return TAR_ENTRY;
    }
  }
}

bool tar_content(struct tar_reader *reader, const unsigned char **at, uint64_t *length, struct failure *why) {
  uint64_t most = reader->stored;
  *at = NULL;
  *length = 0;
  if (reader->sparse) {
    while (reader->extent < reader->extent_count && reader->extents[reader->extent].length == 0) reader->extent++;
    bool in_extent = reader->extent < reader->extent_count;
    uint64_t next = in_extent ? reader->extents[reader->extent].offset : reader->entry.size;
    if (reader->position < next) {
      *length = next - reader->position;
      reader->position = next;
      return true;
    }
    if (!in_extent) return true;
    most = reader->extents[reader->extent].length;
  }
  if (most == 0) return true;
  size_t taken;
  if (!piece(reader, most, at, &taken, why)) return false;
  reader->stored -= taken;
  *length = taken;
  if (reader->sparse) {
    reader->position += taken;
    reader->extents[reader->extent].offset += taken;
    reader->extents[reader->extent].length -= taken;
  }
  return true;
}
