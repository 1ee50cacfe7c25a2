// The tar reader: every form there is, and every lie.
#include "tests/archive.h"

struct row {
  const char *name, *shown; // all of what is shown, or with a leading "~" a part of it
  void (*make)(struct buffer *out);
};

static void run_rows(const struct row *rows, size_t count) {
  for (size_t i = 0; i < count; i++) {
    AUTO_BUFFER archive = {0};
    rows[i].make(&archive);
    for (size_t k = 0; k < COUNT_OF(piece_sizes); k++) {
      AUTO_BUFFER shown = {0};
      tar_show(archive.at, archive.length, piece_sizes[k], &shown);
      const char *wanted = rows[i].shown;
      bool same = wanted[0] == '~' ? strstr(shown.at, wanted + 1) != NULL : strcmp(shown.at, wanted) == 0;
      if (!same) fail_row("%s, pieces of %zu:\n%s\ninstead of\n%s", rows[i].name, piece_sizes[k], shown.at, wanted);
    }
  }
}

#define LONG_NAME "d123456789/d123456789/d123456789/d123456789/d123456789/d123456789/d123456789/d123456789/d123456789/d123456789/f"

static void types(struct buffer *out) {
  tar_file(out, "f", "abc");
  tar_header(out, '5', "d/", "", 0);
  tar_header(out, '1', "h", "f", 9); // a link may state its target's size
  tar_header(out, '2', "s", "../x", 0);
  tar_header(out, '3', "c", "", 0);
  tar_header(out, '4', "b", "", 0);
  tar_header(out, '6', "p", "", 0);
  tar_header(out, '7', "contiguous", "", 1);
  tar_data(out, "k", 1);
  tar_header(out, '\0', "old/", "", 0);
  tar_header(out, '\0', "old/f", "", 0);
  tar_end(out);
}
static void prefix(struct buffer *out) {
  unsigned char *block = tar_header(out, '0', "f", "", 0);
  memcpy(block + 345, "a/b", 3);
  tar_sum(block);
  block = tar_header(out, '0', "g", "", 0); // GNU keeps other things there
  memcpy(block + 257, "ustar  ", 8);
  memcpy(block + 345, "junk", 4);
  tar_sum(block);
}
static void full_fields(struct buffer *out) {
  unsigned char *block = tar_header(out, '2', "", "", 0);
  memset(block, 'n', 100);
  memset(block + 157, 'l', 100);
  memset(block + 345, 'p', 155);
  tar_sum(block);
}
static void gnu_long(struct buffer *out) {
  tar_extension(out, 'K', LONG_NAME "-link", sizeof LONG_NAME "-link");
  tar_extension(out, 'L', LONG_NAME, sizeof LONG_NAME - 1); // the NUL may be missing
  tar_header(out, '2', "short", "short", 0);
  tar_file(out, "next", "");
}
static void pax(struct buffer *out) {
  tar_pax(out, 'g', PAX("comment", "c", "mtime", "5"));
  tar_pax(out, 'x', PAX("path", "a b/\xff", "size", "3", "mtime", "-1.5", "uid", "9223372036854775808", "SCHILY.xattr.user.a", "v=w", "other", ""));
  tar_header(out, '0', "x", "", 0);
  tar_data(out, "abc", 3);
  tar_pax(out, 'x', PAX("linkpath", "t"));
  tar_header(out, '2', "l", "x", 0);
  tar_file(out, "plain", "");
}
static void base256_size(struct buffer *out) {
  unsigned char *block = tar_header(out, '0', "f", "", 0);
  memset(block + 124, 0, 12);
  block[124] = 0x80;
  block[135] = 3;
  memset(block + 136, 0xff, 12); // -1
  tar_sum(block);
  tar_data(out, "abc", 3);
}
static void base256_negative(struct buffer *out) {
  unsigned char *block = tar_header(out, '0', "f", "", 0);
  memset(block + 124, 0xff, 12);
  tar_sum(block);
}
static void base256_huge(struct buffer *out) {
  unsigned char *block = tar_header(out, '0', "f", "", 0);
  memset(block + 124, 0, 12);
  block[124] = 0x80;
  block[128] = 0x80; // 2^63
  tar_sum(block);
}
static void base256_large(struct buffer *out) {
  unsigned char *block = tar_header(out, '0', "f", "", 0);
  memset(block + 124, 0, 12);
  block[124] = 0x80;
  block[128] = 0x7f;
  tar_sum(block);
}
static void owner_huge(struct buffer *out) {
  unsigned char *block = tar_header(out, '0', "f", "", 0);
  memset(block + 108, 0xff, 8);
  tar_sum(block);
}
static void signed_sum(struct buffer *out) {
  unsigned char *block = tar_header(out, '0', "caf\xe9", "", 0);
  unsigned sum = 0;
  memset(block + 148, ' ', 8);
  for (size_t i = 0; i < TAR_BLOCK; i++) sum += block[i];
  tar_number(block + 148, 7, sum - 256);
}
static void wrong_sum(struct buffer *out) {
  tar_header(out, '0', "f", "", 0)[0] = 'g';
}
static void not_octal(struct buffer *out) {
  unsigned char *block = tar_header(out, '0', "f", "", 0);
  memcpy(block + 124, "00000000009", 12);
  tar_sum(block);
}
static void blank_fields(struct buffer *out) {
  unsigned char *block = tar_header(out, '5', "d", "", 0);
  memset(block + 100, ' ', 8);
  memset(block + 124, 0, 12);
  memcpy(block + 136, "     12     ", 12);
  tar_sum(block);
}
static void unknown_type(struct buffer *out) {
  tar_header(out, 'Z', "f", "", 0);
}
static void slash_file(struct buffer *out) {
  tar_file(out, "d/", "");
}
static void slash_content(struct buffer *out) {
  tar_header(out, '\0', "d/", "", 3);
  tar_data(out, "abc", 3);
}
static void lone_zero_block(struct buffer *out) {
  tar_file(out, "f", "");
  tar_data(out, "", 0);
  buffer_add(out, (char[TAR_BLOCK]){0}, TAR_BLOCK);
  tar_file(out, "g", "");
}
static void junk_behind_the_end(struct buffer *out) {
  tar_file(out, "f", "");
  tar_end(out);
  buffer_text(out, "whatever");
}
static void no_end(struct buffer *out) {
  tar_file(out, "f", "");
}
static void odd_zeros(struct buffer *out) {
  tar_file(out, "f", "");
  tar_end(out);
  buffer_add(out, (char[700]){0}, 700);
}
static void nothing(struct buffer *out) {
  buffer_text(out, "");
}
static void no_last_padding(struct buffer *out) {
  tar_file(out, "f", "abc");
  tar_header(out, '0', "g", "", 3);
  buffer_text(out, "def");
}
static void half_padding(struct buffer *out) {
  no_last_padding(out);
  buffer_add(out, "\0\0\0", 3);
}
static void extension_alone(struct buffer *out) {
  tar_pax(out, 'x', PAX("path", "f"));
  tar_end(out);
}
static void pax_twice(struct buffer *out) {
  tar_pax(out, 'x', PAX("path", "f", "path", "f"));
  tar_file(out, "f", "");
}
static void pax_twice_in_two(struct buffer *out) {
  tar_pax(out, 'x', PAX("size", "0"));
  tar_pax(out, 'x', PAX("size", "0"));
  tar_file(out, "f", "");
}
static void attribute_twice(struct buffer *out) {
  tar_pax(out, 'x', PAX("SCHILY.xattr.user.a", "1", "SCHILY.xattr.user.a", "2"));
  tar_file(out, "f", "");
}
static void pax_and_long(struct buffer *out) {
  tar_pax(out, 'x', PAX("path", "f"));
  tar_extension(out, 'L', "g", 2);
  tar_file(out, "f", "");
}
static void long_twice(struct buffer *out) {
  tar_extension(out, 'L', "g", 2);
  tar_extension(out, 'L', "g", 2);
  tar_file(out, "f", "");
}
static void long_empty(struct buffer *out) {
  tar_extension(out, 'L', "", 1);
  tar_file(out, "f", "");
}
static void pax_nul(struct buffer *out) {
  AUTO_BUFFER records = {0};
  pax_add(&records, "path", "a\0b", 3);
  tar_extension(out, 'x', records.at, records.length);
  tar_file(out, "f", "");
}
static void pax_key_nul(struct buffer *out) {
  tar_extension(out, 'x', "8 a\0b=c\n", 8);
  tar_file(out, "f", "");
}
static void pax_length_long(struct buffer *out) {
  tar_extension(out, 'x', "99 a=b\n", 7);
}
static void pax_length_short(struct buffer *out) {
  tar_extension(out, 'x', "4 a=b\n", 6);
}
static void pax_length_huge(struct buffer *out) {
  tar_extension(out, 'x', "18446744073709551623 a=b\n", 25);
}
static void pax_no_equals(struct buffer *out) {
  tar_extension(out, 'x', "5 ab\n", 5);
}
static void pax_negative_size(struct buffer *out) {
  tar_pax(out, 'x', PAX("size", "-1"));
  tar_file(out, "f", "");
}
static void pax_large_size(struct buffer *out) {
  tar_pax(out, 'x', PAX("size", "9223372036854775808"));
  tar_file(out, "f", "");
}
static void pax_empty_path(struct buffer *out) {
  tar_pax(out, 'x', PAX("path", ""));
  tar_file(out, "f", "");
}
static void global_path(struct buffer *out) {
  tar_pax(out, 'g', PAX("path", "f"));
  tar_file(out, "f", "");
}
static void extension_huge(struct buffer *out) {
  tar_header(out, 'x', "f", "", (1 << 20) + 1);
}
static void many_attributes(struct buffer *out) {
  AUTO_BUFFER records = {0};
  for (int i = 0; i < 101; i++) {
    char key[40];
    snprintf(key, sizeof key, "SCHILY.xattr.user.%d", i);
    pax_add(&records, key, "v", 1);
  }
  tar_extension(out, 'x', records.at, records.length);
  tar_file(out, "f", "");
}

static void forms(void **state) {
  (void)state;
  const struct row rows[] = {
    {"types", "regular file f 644 7 3:abc\ndirectory d/ 755 7\nhard link h 644 7 -> f\nsymbolic link s 644 7 -> ../x\ncharacter device c 644 7\n"
              "block device b 644 7\nFIFO p 644 7\nregular file contiguous 644 7 1:k\ndirectory old/ 644 7\nregular file old/f 644 7 0:\n", types},
    {"prefix", "regular file a/b/f 644 7 0:\nregular file g 644 7 0:\n", prefix},
    {"full fields", "~/nnnnnnnnn", full_fields},
    {"GNU long names", "symbolic link " LONG_NAME " 644 7 -> " LONG_NAME "-link\nregular file next 644 7 0:\n", gnu_long},
    {"pax", "regular file a b/\xff 644 -2 user.a=v=w 3:abc\nsymbolic link l 644 5 -> t\nregular file plain 644 5 0:\n", pax},
    {"base 256", "regular file f 644 -1 3:abc\n", base256_size},
    {"signed checksum", "regular file caf\xe9 644 7 0:\n", signed_sum},
    {"blank fields", "directory d 0 10\n", blank_fields},
    {"junk behind the end", "regular file f 644 7 0:\n", junk_behind_the_end},
    {"no end", "regular file f 644 7 0:\n", no_end},
    {"odd zeros", "regular file f 644 7 0:\n", odd_zeros},
    {"nothing", "", nothing},
    {"no last padding", "regular file f 644 7 3:abc\nregular file g 644 7 3:def\n", no_last_padding},
  };
  run_rows(rows, COUNT_OF(rows));
}

static void lies(void **state) {
  (void)state;
  const struct row rows[] = {
    {"negative size", "LAYER_INVALID: entry \"f\": its size is negative or not a number", base256_negative},
    {"size 2^63", "LAYER_INVALID: entry \"f\": its size is negative or not a number", base256_huge},
    {"size over the limit", "LAYER_INVALID: entry \"f\": its size is out of range", base256_large},
    {"negative owner", "LAYER_INVALID: entry \"f\": its owner is negative or not a number", owner_huge},
    {"wrong checksum", "LAYER_INVALID: entry \"g\": its header checksum is wrong", wrong_sum},
    {"not octal", "LAYER_INVALID: entry \"f\": its size is negative or not a number", not_octal},
    {"unknown type", "LAYER_INVALID: entry \"f\": its type flag 0x5a is not known", unknown_type},
    {"file named as a directory", "LAYER_INVALID: entry \"d/\": it is a regular file, but its name ends with a slash", slash_file},
    {"old directory with content", "LAYER_INVALID: entry \"d/\": it is a regular file, but its name ends with a slash", slash_content},
    {"lone zero block", "~a header follows the end mark", lone_zero_block},
    {"half a padding", "~entry \"g\": the archive ends in the middle of it", half_padding},
    {"extension alone", "~LAYER_INVALID: entry \"extension\": the archive ends in the middle of it", extension_alone},
    {"pax key twice", "~its pax path is malformed, out of range, said twice", pax_twice},
    {"pax key in two headers", "~its pax size is malformed, out of range, said twice", pax_twice_in_two},
    {"attribute twice", "~its pax SCHILY.xattr.user.a is malformed, out of range, said twice", attribute_twice},
    {"pax and GNU name", "~its name is said by pax and by GNU's form", pax_and_long},
    {"GNU name twice", "~its long name is empty or said twice", long_twice},
    {"GNU name empty", "~its long name is empty or said twice", long_empty},
    {"NUL in a pax name", "~its pax path is malformed", pax_nul},
    {"NUL in a pax key", "~its pax header is malformed", pax_key_nul},
    {"pax record too long", "~its pax header is malformed", pax_length_long},
    {"pax record too short", "~its pax header is malformed", pax_length_short},
    {"pax record of 2^64", "~its pax header is malformed", pax_length_huge},
    {"pax record without =", "~its pax header is malformed", pax_no_equals},
    {"negative pax size", "~its pax size is malformed, out of range", pax_negative_size},
    {"pax size 2^63", "~its pax size is malformed, out of range", pax_large_size},
    {"empty pax name", "~its pax path is malformed, out of range", pax_empty_path},
    {"global name", "~its pax path is malformed, out of range, said twice or not for a global header", global_path},
    {"huge extension", "~its extended header has 1048577 bytes, more than 1048576", extension_huge},
    {"101 attributes", "~its pax SCHILY.xattr.user.100 is malformed, out of range", many_attributes},
  };
  run_rows(rows, COUNT_OF(rows));
}

// --- sparse --------------------------------------------------------------------------------------------------------------------

static void old_map(unsigned char *at, uint64_t offset, uint64_t length) {
  tar_number(at, 12, offset);
  tar_number(at + 12, 12, length);
}
static unsigned char *old_header(struct buffer *out, uint64_t size, uint64_t stored) {
  unsigned char *block = tar_header(out, 'S', "s", "", stored);
  memcpy(block + 257, "ustar  ", 8);
  memset(block + 345, 0, 167);
  tar_number(block + 483, 12, size);
  return block;
}
static void old_form(struct buffer *out) {
  unsigned char *block = old_header(out, 20, 5);
  old_map(block + 386, 0, 2);
  old_map(block + 410, 10, 3);
  old_map(block + 434, 20, 0);
  tar_sum(block);
  tar_data(out, "abcde", 5);
  tar_file(out, "f", "x");
}
static void old_form_more(struct buffer *out) {
  unsigned char *block = old_header(out, 100, 5);
  for (unsigned i = 0; i < 4; i++) old_map(block + 386 + 24 * i, 10 * i, 1);
  block[482] = 1;
  tar_sum(block);
  unsigned char more[TAR_BLOCK] = {0};
  old_map(more, 99, 1);
  buffer_add(out, more, sizeof more);
  tar_data(out, "abcde", 5);
}
static void old_form_cut(struct buffer *out) {
  unsigned char *block = old_header(out, 100, 5);
  block[482] = 1;
  tar_sum(block);
}
static void old_falling(struct buffer *out) {
  unsigned char *block = old_header(out, 20, 5);
  old_map(block + 386, 10, 3);
  old_map(block + 410, 0, 2);
  tar_sum(block);
  tar_data(out, "abcde", 5);
}
static void old_outside(struct buffer *out) {
  unsigned char *block = old_header(out, 20, 5);
  old_map(block + 386, 18, 5);
  tar_sum(block);
  tar_data(out, "abcde", 5);
}
static void old_sum(struct buffer *out) {
  unsigned char *block = old_header(out, 20, 5);
  old_map(block + 386, 0, 4);
  tar_sum(block);
  tar_data(out, "abcde", 5);
}
static void old_and_pax(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.size", "20"));
  old_form(out);
}
static void pax_00(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.size", "20", "GNU.sparse.numblocks", "2", "GNU.sparse.offset", "1", "GNU.sparse.numbytes", "2", "GNU.sparse.offset", "10",
    "GNU.sparse.numbytes", "3"));
  tar_file(out, "s", "abcde");
}
static void pax_01(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.size", "20", "GNU.sparse.numblocks", "2", "GNU.sparse.name", "s", "GNU.sparse.map", "1,2,10,3"));
  tar_file(out, "GNUSparseFile.1/s", "abcde");
}
static void pax_10_map(struct buffer *out, const char *map, const char *content) {
  AUTO_BUFFER data = {0};
  tar_data(&data, map, strlen(map));
  buffer_text(&data, content);
  tar_pax(out, 'x', PAX("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "s", "GNU.sparse.realsize", "20"));
  tar_header(out, '0', "GNUSparseFile.1/s", "", data.length);
  tar_data(out, data.at, data.length);
}
static void pax_10(struct buffer *out) {
  pax_10_map(out, "2\n1\n2\n10\n3\n", "abcde");
  tar_file(out, "f", "x");
}
static void pax_10_long(struct buffer *out) {
  // A map of two blocks.
  AUTO_BUFFER map = {0};
  buffer_text(&map, "170\n");
  for (int i = 0; i < 170; i++) buffer_text(&map, "1\n0\n");
  pax_10_map(out, map.at, "");
}
static void pax_10_lie(struct buffer *out) {
  pax_10_map(out, "3\n1\n2\n10\n3\n", "abcde");
}
static void pax_10_junk(struct buffer *out) {
  pax_10_map(out, "x\n", "");
}
static void pax_10_endless(struct buffer *out) {
  pax_10_map(out, "00000000000000000000000000000000000001\n", "");
}
static void pax_10_short(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.realsize", "20"));
  tar_file(out, "s", "1\n0\n1\n");
}
static void all_hole(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.size", "1152921504606846976", "GNU.sparse.map", ""));
  tar_file(out, "s", "");
}
static void blocks_lie(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.size", "20", "GNU.sparse.numblocks", "3", "GNU.sparse.map", "1,2,10,3"));
  tar_file(out, "s", "abcde");
}
static void no_size(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.map", "0,5"));
  tar_file(out, "s", "abcde");
}
static void half_a_map(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.size", "20", "GNU.sparse.offset", "0"));
  tar_file(out, "s", "");
}
static void odd_map(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.size", "20", "GNU.sparse.map", "0,5,6"));
  tar_file(out, "s", "abcde");
}
static void two_maps(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.size", "20", "GNU.sparse.map", "0,5", "GNU.sparse.offset", "6", "GNU.sparse.numbytes", "0"));
  tar_file(out, "s", "abcde");
}
static void two_majors(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.major", "1", "GNU.sparse.major", "0", "GNU.sparse.realsize", "20"));
  tar_file(out, "s", "abcde");
}
static void sparse_directory(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.size", "20", "GNU.sparse.map", ""));
  tar_header(out, '5', "d", "", 0);
}
static void map_and_content_map(struct buffer *out) {
  tar_pax(out, 'x', PAX("GNU.sparse.major", "1", "GNU.sparse.map", "0,5", "GNU.sparse.realsize", "20"));
  tar_file(out, "s", "1\n0\n5\n");
}

static void sparse(void **state) {
  (void)state;
  const struct row rows[] = {
    {"old form", "regular file s 644 7 20:ab[8]cde[7]\nregular file f 644 7 1:x\n", old_form},
    {"old form with more blocks", "regular file s 644 7 100:a[9]b[9]c[9]d[68]e\n", old_form_more},
    {"pax 0.0", "regular file s 644 7 20:[1]ab[7]cde[7]\n", pax_00},
    {"pax 0.1", "regular file s 644 7 20:[1]ab[7]cde[7]\n", pax_01},
    {"pax 1.0", "regular file s 644 7 20:[1]ab[7]cde[7]\nregular file f 644 7 1:x\n", pax_10},
    {"pax 1.0, long map", "regular file s 644 7 20:[20]\n", pax_10_long},
    {"all hole", "regular file s 644 7 1152921504606846976:[1152921504606846976]\n", all_hole},
    {"old form cut", "~the archive ends in the middle of it", old_form_cut},
    {"falling offsets", "~its sparse map does not fit its size", old_falling},
    {"outside", "~its sparse map does not fit its size", old_outside},
    {"other sum", "~its sparse map does not fit its size", old_sum},
    {"two forms", "~it is a sparse file in two forms at once", old_and_pax},
    {"map longer than it is", "~its sparse map is malformed", pax_10_lie},
    {"map of junk", "~its sparse map is malformed", pax_10_junk},
    {"endless number", "~its sparse map is malformed", pax_10_endless},
    {"map cut", "~its sparse map is cut", pax_10_short},
    {"numblocks lies", "~its sparse map does not have the blocks it states", blocks_lie},
    {"no size", "~it is a sparse file without a size or with half a map", no_size},
    {"half a map", "~it is a sparse file without a size or with half a map", half_a_map},
    {"odd map", "~its pax GNU.sparse.map is malformed", odd_map},
    {"two maps", "~its pax GNU.sparse.offset is malformed", two_maps},
    {"two majors", "~its pax GNU.sparse.major is malformed", two_majors},
    {"directory", "~it is sparse, but no regular file", sparse_directory},
    {"map in header and content", "~it has two sparse maps", map_and_content_map},
  };
  run_rows(rows, COUNT_OF(rows));
}

// --- cut everywhere --------------------------------------------------------------------------------------------------------------

// Whether an archive may end here: between two blocks, or where the padding of a content begins.
static bool may_end(const struct buffer *archive, size_t length) {
  static const char zeros[TAR_BLOCK];
  size_t padding = (TAR_BLOCK - length % TAR_BLOCK) % TAR_BLOCK;
  return padding == 0 || (archive->at[length - 1] != '\0' && memcmp(archive->at + length, zeros, padding) == 0);
}

static void cut_everywhere(void **state) {
  (void)state;
  AUTO_BUFFER archive = {0};
  pax(&archive);
  gnu_long(&archive);
  pax_10(&archive);
  old_form_more(&archive);
  AUTO_BUFFER whole = {0};
  tar_show(archive.at, archive.length, archive.length, &whole);
  assert_null(strstr(whole.at, "LAYER_INVALID"));
  for (size_t length = 0; length < archive.length; length++) {
    AUTO_BUFFER shown = {0};
    tar_show(archive.at, length, 512, &shown);
    // What was read is what the whole begins with; then comes a fault, or the cut is behind an entry.
    char *fault = strstr(shown.at, "LAYER_INVALID");
    if (fault == NULL) {
      if (!may_end(&archive, length) || strncmp(whole.at, shown.at, shown.length) != 0) fail_row("cut at %zu: %s", length, shown.at);
      continue;
    }
    if (strstr(fault, "middle") == NULL) fail_row("cut at %zu: %s", length, shown.at);
    for (*fault = '\0'; fault > shown.at && (fault[-1] == '\n' || fault[-1] == ':'); *--fault = '\0') continue;
    if (strncmp(whole.at, shown.at, strlen(shown.at)) != 0) fail_row("cut at %zu: %s", length, shown.at);
  }
}

static void long_names_are_cut_in_faults(void **state) {
  (void)state;
  char name[4000];
  memset(name, 'n', sizeof name);
  AUTO_BUFFER archive = {0}, shown = {0};
  tar_extension(&archive, 'L', name, sizeof name);
  tar_header(&archive, 'Z', "f", "", 0);
  tar_show(archive.at, archive.length, 512, &shown);
  assert_non_null(strstr(shown.at, "nnn...\": its type flag"));
  assert_true(shown.length < 300);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(lies), cmocka_unit_test(sparse), cmocka_unit_test(cut_everywhere),
    cmocka_unit_test(long_names_are_cut_in_faults)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
