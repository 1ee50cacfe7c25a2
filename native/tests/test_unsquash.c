// A foreign squashfs as a tar stream: what is in the stream, what is refused, and that any damage ends in a reason or a sound stream.
#include "testing.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "merge/table.h"
#include "merge/unsquash.h"
#include "tests/making.h"

static const struct unsquash_limits wide = {.bytes = 1 << 30, .ratio = 100000, .entries = 1000, .depth = 64, .name_bytes = 4095};

static int image = -1; // its file has no name any more
static size_t image_size;

// --- images --------------------------------------------------------------------------------------------------------------------

static void run(const char *command) {
  char shell[] = "sh", option[] = "-c", path[] = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
  AUTO_BUFFER words = {0};
  buffer_text(&words, command);
  pid_t child = -1;
  int status = -1;
  assert_int_equal(posix_spawnp(&child, shell, NULL, NULL, (char *const[]){shell, option, words.at, NULL}, (char *const[]){path, NULL}), 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_row("%s", command);
}

// `make` fills the directory $D/tree, and `packer` makes $D/image of it.
static void pack_by(const char *make, const char *packer) {
  char directory[] = "/tmp/shifter-unsquash-XXXXXX";
  assert_non_null(mkdtemp(directory));
  AUTO_BUFFER command = {0}, file = {0}, removal = {0};
  buffer_print(&command, "set -e; D=%s; mkdir $D/tree; cd $D/tree; %s; %s", directory, make, packer);
  run(command.at);
  buffer_print(&file, "%s/image", directory);
  if (image >= 0) close(image);
  image = open(file.at, O_RDWR | O_CLOEXEC);
  off_t size = lseek(image, 0, SEEK_END);
  assert_true(image >= 0 && size > 0);
  image_size = (size_t)size;
  buffer_print(&removal, "rm -r %s", directory);
  run(removal.at);
}

// `pseudo` are the packer's own definitions, which need no right.
static void pack(const char *make, const char *pseudo, const char *options) {
  AUTO_BUFFER packer = {0};
  buffer_print(&packer, "printf '%%b' '%s' > $D/pseudo; mksquashfs $D/tree $D/image -quiet -no-progress -pf $D/pseudo %s >/dev/null", pseudo, options);
  pack_by(make, packer.at);
}

#define PLAIN "-noI -noD -noF -noX -noId -b 4096"

// --- reading -------------------------------------------------------------------------------------------------------------------

static bool keep(void *to, const void *at, size_t length) {
  buffer_add(to, at, length);
  return true;
}

static bool full(void *to, const void *at, size_t length) {
  (void)to, (void)at, (void)length;
  return false;
}

static bool stream(const struct unsquash_limits *limits, struct buffer *out, struct failure *why) {
  *why = (struct failure){0};
  return unsquash(image, image_size, limits, 7, (struct writer_output){keep, out}, why);
}

// A line for each entry, as the tar reader understands it.
static bool listing(const struct buffer *tar, struct buffer *out, struct failure *why) {
  static const char types[] = "-hlcbdp";
  struct tar_whole whole = {tar, false};
  CLEANUP(tar_close) struct tar_reader *reader = tar_open((struct tar_input){tar_whole_give, &whole});
  const struct tar_entry *entry;
  enum tar_step step;
  while ((step = tar_next(reader, &entry, why)) == TAR_ENTRY) {
    buffer_print(out, "%c %o %lld ", types[entry->type], (unsigned)entry->mode, (long long)entry->mtime);
    buffer_visible(out, entry->name);
    if (entry->link_length > 0) buffer_print(out, " -> %s", entry->link);
    for (size_t i = 0; i < entry->attribute_count; i++)
      buffer_print(out, " %s=%.*s", entry->attributes[i].name, (int)entry->attributes[i].value_length, entry->attributes[i].value);
    const unsigned char *at;
    uint64_t length = 1, total = 0;
    if (entry->type == TAR_REGULAR) buffer_text(out, " \"");
    while (entry->type == TAR_REGULAR && length > 0) {
      if (!tar_content(reader, &at, &length, why)) return false;
      if (at != NULL && total < 20) buffer_print(out, "%.*s", (int)(length < 20 ? length : 20), (const char *)at);
      total += length;
    }
    if (entry->type == TAR_REGULAR) buffer_print(out, "\" %llu", (unsigned long long)total);
    buffer_byte(out, '\n');
  }
  return step == TAR_END;
}

static void everything(void **state) {
  (void)state;
  static const char *const packers[] = {PLAIN, "-comp gzip", "-comp xz", "-comp lzma", "-comp lz4", "-comp zstd", "-comp zstd -b 1M -no-fragments"};
  for (size_t i = 0; i < COUNT_OF(packers); i++) {
    AUTO_BUFFER options = {0}, tar = {0}, text = {0};
    struct failure why;
    buffer_print(&options, "%s -all-time 5 -mkfs-time 5 -all-root -no-exports", packers[i]);
    pack("mkdir d; printf hello > d/file; ln d/file d/other; ln -s d/file link; ln link link2; : > empty; truncate -s 200000 zeros; chmod 4755 d/file; "
         "chmod 755 . d; chmod 644 empty zeros; printf x > $(printf 'new\\nline'); chmod 600 new*",
      "c c 600 0 0 1 3\\nb b 600 0 0 8 0\\np i 600 0 0 f\\ns i 600 0 0 s\\n", options.at);
    if (!stream(&wide, &tar, &why)) fail_row("%s: %s", packers[i], why.what);
    if (!listing(&tar, &text, &why)) fail_row("%s: %s", packers[i], why.what);
    static const char expected[] = "d 755 5 .\nb 600 5 b\nc 600 5 c\nd 755 5 d\n- 644 5 empty \"\" 0\nl 777 5 link -> d/file\nl 777 5 link2 -> d/file\n"
                                   "- 600 5 new\\x0aline \"x\" 1\np 600 5 p\np 600 5 s\n- 644 5 zeros \"\" 200000\n"
                                   "- 4755 5 d/file \"hello\" 5\nh 4755 5 d/other -> d/file\n";
    if (strcmp(text.at, expected) != 0) fail_row("%s:\n%s", packers[i], text.at);
  }
}

static void refusals(void **state) {
  (void)state;
  struct limits_row {
    const char *what, *make, *said;
    struct unsquash_limits limits;
    enum error_code code;
  } rows[] = {{"names", ": > a; : > b", "more than 2 names", wide, ERROR_LIMIT_EXCEEDED},
    {"depth", "mkdir -p a/b/c", "more than 2 components in a name", wide, ERROR_LIMIT_EXCEEDED},
    {"length", "mkdir aaaa; : > aaaa/bbbb", "more than 8 bytes in a name", wide, ERROR_LIMIT_EXCEEDED},
    {"bytes", "truncate -s 100000 zeros", "more than 50000 bytes", wide, ERROR_LIMIT_EXCEEDED},
    {"ratio", "truncate -s 80M zeros", "1 times its size", wide, ERROR_LIMIT_EXCEEDED},
    {"whiteout", "mkdir d; : > d/.wh.a", "\"d/.wh.a\" has a name that stands for a removed file", wide, ERROR_FILE_INVALID}};
  rows[0].limits.entries = 2;
  rows[1].limits.depth = 2;
  rows[2].limits.name_bytes = 8;
  rows[3].limits.bytes = 50000;
  rows[4].limits.ratio = 1;
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_BUFFER tar = {0};
    struct failure why;
    pack(rows[i].make, "", "");
    check(!stream(&rows[i].limits, &tar, &why), rows[i].what);
    if (why.code != rows[i].code || strstr(why.what, rows[i].said) == NULL) fail_row("%s: %s", rows[i].what, why.what);
    check((rows[i].code == ERROR_FILE_INVALID) || stream(&wide, &tar, &why), rows[i].what);
  }
}

static void no_output(void **state) {
  (void)state;
  struct failure why = {0};
  pack(": > a", "", "");
  assert_false(unsquash(image, image_size, &wide, 7, (struct writer_output){full, NULL}, &why));
  assert_int_equal(why.code, ERROR_STATE_UNUSABLE);
}

static void flip(size_t at, unsigned char bits) {
  unsigned char byte;
  assert_int_equal(pread(image, &byte, 1, (off_t)at), 1);
  byte ^= bits;
  assert_int_equal(pwrite(image, &byte, 1, (off_t)at), 1);
}

static void damage(void **state) {
  (void)state;
  size_t refused = 0;
  pack("mkdir -p d/e; printf hello > d/file; ln d/file d/other; ln -s d/file link; head -c 9000 /dev/zero | tr '\\0' x > big", "c c 600 0 0 1 3\\n", PLAIN " -nopad");
  for (size_t at = 0; at < image_size; at += at >= 96 && at < 9000 ? 311 : 1) {
    static const unsigned char flips[] = {0x01, 0x80, 0xff};
    for (size_t i = 0; i < COUNT_OF(flips); i++) {
      AUTO_BUFFER tar = {0}, text = {0};
      struct failure why;
      flip(at, flips[i]);
      bool fine = stream(&wide, &tar, &why);
      flip(at, flips[i]);
      if (!fine) {
        refused++;
        assert_true(why.what[0] != '\0' && (why.code == ERROR_FILE_INVALID || why.code == ERROR_LIMIT_EXCEEDED));
      } else if (!listing(&tar, &text, &why)) {
        fail_row("byte %zu: %s", at, why.what);
      }
    }
  }
  assert_true(refused > 200);
  for (size_t size = 0, whole = image_size; size < whole; size += size < 200 ? 1 : 97) {
    AUTO_BUFFER tar = {0};
    struct failure why;
    image_size = size;
    assert_false(stream(&wide, &tar, &why));
    image_size = whole;
  }
}

// The root's inode, and the first name of the root, say that the root is in itself.
static void circle(void **state) {
  (void)state;
  pack("mkdir d; mkdir d/e", "", PLAIN " -nopad -no-exports");
  unsigned char block[4096];
  ssize_t length = pread(image, block, sizeof block, 0);
  assert_true(length > 96 && (size_t)length == image_size);
  uint64_t root, table;
  memcpy(&root, block + 32, sizeof root);
  memcpy(&table, block + 72, sizeof table);
  // A list: its header (count, block, number), then for each name offset, difference of number, type, length and the name. The last is "d".
  unsigned char *list = block + table + 2;
  bool changed = false;
  for (unsigned char *at = list; at + 21 <= block + length && !changed; at++) {
    if (at[20] != 'd' || at[18] != 0) continue;
    at[12] = (unsigned char)(root & 0xff), at[13] = (unsigned char)(root >> 8 & 0xff);
    changed = true;
  }
  assert_true(changed);
  assert_int_equal(pwrite(image, block, (size_t)length, 0), length);
  AUTO_BUFFER tar = {0};
  struct failure why;
  assert_false(stream(&wide, &tar, &why));
  assert_int_equal(why.code, ERROR_FILE_INVALID);
  if (strstr(why.what, "is another name of something that has only one") == NULL) fail_row("%s", why.what);
}

// A pax header says each attribute once: what one is said twice is no stream.
static void attribute_twice(void **state) {
  (void)state;
  pack_by(": > f", "tar --format=pax --pax-option=SCHILY.xattr.user.a:=one,SCHILY.xattr.user.b:=two -cf - f | tar2sqfs -q $D/image");
  AUTO_BUFFER before = {0}, text = {0}, after = {0};
  struct failure why;
  assert_true(stream(&wide, &before, &why) && listing(&before, &text, &why));
  assert_non_null(strstr(text.at, "user.a=one user.b=two"));
  // Its key: type and length, then what follows "user.".
  static const unsigned char key[] = {0, 0, 1, 0, 'b', 3, 0, 0, 0, 't', 'w', 'o'};
  unsigned char bytes[4096];
  ssize_t length = pread(image, bytes, sizeof bytes, 0);
  assert_true(length > 0);
  const unsigned char *at = memmem(bytes, (size_t)length, key, sizeof key);
  assert_non_null(at);
  flip((size_t)(at - bytes) + 4, 'a' ^ 'b');
  assert_false(stream(&wide, &after, &why));
  assert_int_equal(why.code, ERROR_FILE_INVALID);
  if (strstr(why.what, "\"f\" has an extended attribute twice") == NULL) fail_row("%s", why.what);
}

static int end(void **state) {
  (void)state;
  return close(image);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(everything), cmocka_unit_test(refusals), cmocka_unit_test(no_output), cmocka_unit_test(damage),
    cmocka_unit_test(circle), cmocka_unit_test(attribute_twice)};
  return cmocka_run_group_tests(tests, NULL, end);
}
