// The number that a root file system is compared by: what changes it and what does not, and that the reader of packed images agrees with
// it, and survives images with any damage.
#include "testing.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "merge/blob.h"
#include "merge/contents.h"
#include "merge/image_reader.h"
#include "merge/policy.h"
#include "merge/writer.h"

static const struct sample structure = {0, 7}, full = {1, 7};

struct piece {
  const char *name;
  struct tar_entry entry;
  const unsigned char *content;
};

static unsigned char noise[300000];
static const struct tar_attribute attributes[] = {{"user.a", "one", 6, 3}, {"user.b", "", 6, 0}};

// The root comes first; a hard link names another piece.
static const struct piece tree[] = {
  {"", {.type = TAR_DIRECTORY, .mode = 0711, .mtime = 5}, NULL},
  {"d", {.type = TAR_DIRECTORY, .mode = 01777, .mtime = 6, .attributes = attributes, .attribute_count = 2}, NULL},
  {"d/noise", {.type = TAR_REGULAR, .mode = 0600, .mtime = UINT32_MAX, .size = sizeof noise, .attributes = attributes, .attribute_count = 1}, noise},
  {"d/small", {.type = TAR_REGULAR, .mode = 0755, .mtime = 1, .size = 10}, noise},
  {"empty", {.type = TAR_REGULAR, .mode = 0644}, NULL},
  {"link", {.type = TAR_SYMLINK, .mode = 0777, .mtime = 2, .link = "d/small", .link_length = 7}, NULL},
  {"other", {.type = TAR_LINK, .mode = 0644, .link = "d/noise", .link_length = 7}, NULL},
  {"zeros", {.type = TAR_REGULAR, .mode = 0644, .mtime = 3, .size = 200001}, NULL},
};

static void make_noise(void) {
  uint64_t state = 88172645463325252U;
  for (size_t i = 0; i < sizeof noise; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    noise[i] = (unsigned char)(state >> 32);
  }
}

static void inode_of(struct contents *contents, const struct piece *piece, size_t step, unsigned char inode[static CONTENTS_INODE]) {
  contents_begin(contents, &piece->entry);
  for (uint64_t at = 0; at < piece->entry.size; at += step) {
    uint64_t left = piece->entry.size - at;
    contents_piece(contents, piece->content == NULL ? NULL : piece->content + at, left < step ? left : step);
  }
  contents_end(contents, inode);
}

static const struct piece *piece_of(const char *name) {
  for (size_t i = 0; i < COUNT_OF(tree); i++)
    if (strcmp(tree[i].name, name) == 0) return &tree[i];
  return NULL;
}

static void number_of(const struct sample *sample, bool backwards, size_t step, const struct piece *instead, char hex[static SHA256_HEX]) {
  CLEANUP(contents_close) struct contents *contents = contents_open(sample);
  for (size_t i = 0; i < COUNT_OF(tree); i++) {
    const struct piece *piece = &tree[backwards ? COUNT_OF(tree) - 1 - i : i], *target = piece;
    if (piece->entry.type == TAR_LINK) target = piece_of(piece->entry.link);
    if (instead != NULL && strcmp(instead->name, target->name) == 0) target = instead;
    unsigned char inode[CONTENTS_INODE];
    inode_of(contents, target, step, inode);
    contents_name(contents, piece->name, strlen(piece->name), inode);
  }
  contents_digest(contents, hex);
}

static void order_and_pieces(void **state) {
  (void)state;
  char first[SHA256_HEX], other[SHA256_HEX];
  number_of(&full, false, 65536, NULL, first);
  number_of(&full, true, 777, NULL, other);
  assert_string_equal(first, other);
}

static void every_change(void **state) {
  (void)state;
  static unsigned char flipped[sizeof noise];
  memcpy(flipped, noise, sizeof noise);
  flipped[sizeof noise - 1] ^= 1;
  static const struct tar_attribute value[] = {{"user.a", "two", 6, 3}}, name[] = {{"user.b", "one", 6, 3}}, moved[] = {{"user.ao", "ne", 7, 2}};
#define NOISE {"d/noise", {.type = TAR_REGULAR, .mode = 0600, .mtime = UINT32_MAX, .size = sizeof noise, .attributes = attributes, .attribute_count = 1}, noise}
  struct {
    const char *what;
    struct piece piece;
    bool content;
  } rows[] = {{"mode", NOISE, false}, {"time", NOISE, false}, {"size", NOISE, false}, {"attribute's value", NOISE, false},
    {"attribute's name", NOISE, false}, {"attribute's boundary", NOISE, false}, {"no attribute", NOISE, false}, {"a bit of content", NOISE, true},
    {"zeros", NOISE, true}, {"link target", {"link", {.type = TAR_SYMLINK, .mode = 0777, .mtime = 2, .link = "d/Small", .link_length = 7}, NULL}, false},
    {"type", {"empty", {.type = TAR_DIRECTORY, .mode = 0644}, NULL}, false}};
  rows[0].piece.entry.mode = 0601;
  rows[1].piece.entry.mtime--;
  rows[2].piece.entry.size--;
  rows[3].piece.entry.attributes = value;
  rows[4].piece.entry.attributes = name;
  rows[5].piece.entry.attributes = moved;
  rows[6].piece.entry.attribute_count = 0;
  rows[7].piece.content = flipped;
  rows[8].piece.content = NULL;
  char plain[SHA256_HEX], whole[SHA256_HEX];
  number_of(&structure, false, 65536, NULL, plain);
  number_of(&full, false, 65536, NULL, whole);
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    char hex[SHA256_HEX];
    number_of(&full, false, 65536, &rows[i].piece, hex);
    check(strcmp(hex, whole) != 0, rows[i].what);
    number_of(&structure, false, 65536, &rows[i].piece, hex);
    check((strcmp(hex, plain) == 0) == rows[i].content, rows[i].what);
  }
}

static void sampling(void **state) {
  (void)state;
  struct piece zeros = {"f", {.type = TAR_REGULAR, .mode = 0644, .size = 4096 * CONTENTS_PIECE}, NULL};
  const struct sample some = {64, 99};
  CLEANUP(contents_close) struct contents *contents = contents_open(&some);
  contents_begin(contents, &zeros.entry);
  size_t wanted = 0;
  for (size_t i = 0; i < 4096; i++) {
    wanted += contents_wants(contents, CONTENTS_PIECE);
    contents_piece(contents, NULL, CONTENTS_PIECE);
  }
  assert_in_range(wanted, 32, 128); // 64 are expected
}

static void sample_texts(void **state) {
  (void)state;
  struct sample sample;
  assert_true(sample_parse(&sample, "64:0123456789abcdef"));
  assert_int_equal(sample.every, 64);
  assert_true(sample.key == UINT64_C(0x0123456789abcdef));
  static const char *const wrong[] = {"", "64", "64:", ":0123456789abcdef", "-1:0123456789abcdef", "1:0123456789ABCDEF", "1:0123456789abcde", "1:0123456789abcdef0"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) check(!sample_parse(&sample, wrong[i]), wrong[i]);
}

static void times(void **state) {
  (void)state;
  assert_true(kept_time(-1) == 0 && kept_time(INT64_MIN) == 0 && kept_time(0) == 0 && kept_time(UINT32_MAX) == UINT32_MAX);
  assert_true(kept_time(INT64_C(1) << 32) == UINT32_MAX && kept_time(INT64_MAX) == UINT32_MAX);
}

// --- images --------------------------------------------------------------------------------------------------------------------

static int image = -1; // its file has no name any more
static size_t image_size;

static bool to_file(void *to, const void *at, size_t length) {
  return fwrite(at, 1, length, to) == length;
}

// A packer whose standard input is the stream; the last of its arguments is the file that it writes.
static FILE *start_packer(const char *const *packer, const char *file, pid_t *child) {
  AUTO_WORDS arguments = {0};
  for (; *packer != NULL; packer++) words_add_text(&arguments, *packer);
  words_add_text(&arguments, file);
  static char epoch[] = "SOURCE_DATE_EPOCH=0", path[] = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
  char *const environment[] = {path, epoch, NULL};
  int ends[2];
  posix_spawn_file_actions_t actions;
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
  assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO), 0);
  assert_int_equal(posix_spawnp(child, arguments.items[0], &actions, NULL, arguments.items, environment), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[0]);
  return fdopen(ends[1], "w");
}

static int pack(const char *const *packer_command) {
  make_noise();
  blob_prepare();
  char directory[] = "/tmp/shifter-contents-XXXXXX";
  assert_non_null(mkdtemp(directory));
  AUTO_BUFFER file = {0};
  buffer_print(&file, "%s/image", directory);
  pid_t child = -1;
  FILE *packer = start_packer(packer_command, file.at, &child);
  assert_non_null(packer);
  struct writer *writer = writer_open((struct writer_output){to_file, packer});
  for (size_t i = 0; i < COUNT_OF(tree); i++) {
    struct tar_entry entry = tree[i].entry;
    AUTO_BUFFER name = {0};
    buffer_print(&name, "%s%s", i == 0 ? "." : tree[i].name, entry.type == TAR_DIRECTORY ? "/" : "");
    entry.name = name.at;
    entry.name_length = name.length;
    assert_true(writer_header(writer, &entry));
    if (entry.type == TAR_REGULAR) assert_true(writer_content(writer, tree[i].content, entry.size) && writer_content_end(writer));
  }
  assert_true(writer_end(writer));
  writer_close(&writer);
  int status = -1;
  assert_int_equal(fclose(packer), 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  image = open(file.at, O_RDWR | O_CLOEXEC);
  off_t size = lseek(image, 0, SEEK_END);
  assert_true(image >= 0 && size > 0);
  image_size = (size_t)size;
  unlink(file.at);
  return rmdir(directory);
}

static int pack_packed(void **state) {
  (void)state;
  return pack((const char *const[]){"tar2sqfs", "-q", "-s", "-c", "zstd", NULL});
}

// Nothing is compressed: damage goes through to the fields.
static int pack_plain(void **state) {
  (void)state;
  return pack((const char *const[]){"sqfstar", "-quiet", "-no-progress", "-comp", "zstd", "-noI", "-noId", "-noD", "-noF", "-noX", NULL});
}

static int drop(void **state) {
  (void)state;
  close(image);
  return 0;
}

static bool read_image(const struct sample *sample, size_t size, char hex[static SHA256_HEX], struct failure *why) {
  CLEANUP(contents_close) struct contents *contents = contents_open(sample);
  uint64_t inodes = 0;
  *why = (struct failure){0};
  bool fine = image_read(image, size, contents, &inodes, why);
  contents_digest(contents, hex);
  if (fine) assert_int_equal(inodes, COUNT_OF(tree) - 1);
  return fine;
}

static void image_agrees(void **state) {
  (void)state;
  for (uint64_t every = 0; every < 4; every++) {
    const struct sample sample = {every, every};
    char written[SHA256_HEX], read[SHA256_HEX];
    struct failure why;
    number_of(&sample, false, 4096, NULL, written);
    if (!read_image(&sample, image_size, read, &why)) fail_row("%s", why.what);
    assert_string_equal(written, read);
  }
}

static void flip(size_t at, unsigned char bits) {
  unsigned char byte;
  assert_int_equal(pread(image, &byte, 1, (off_t)at), 1);
  byte ^= bits;
  assert_int_equal(pwrite(image, &byte, 1, (off_t)at), 1);
}

// Whatever is damaged is found or does not matter, and a fault is worded.
static void damage(void **state) {
  (void)state;
  char whole[SHA256_HEX], hex[SHA256_HEX];
  struct failure why;
  assert_true(read_image(&full, image_size, whole, &why));
  size_t found = 0, data = 96;
  unsigned char start[1000];
  assert_int_equal(pread(image, start, sizeof start, (off_t)data), sizeof start);
  assert_memory_equal(start, noise, sizeof start);
  for (size_t at = 0; at < image_size; at += at < data || at > sizeof noise ? 1 : 997) {
    static const unsigned char flips[] = {0x01, 0xff};
    for (size_t i = 0; i < COUNT_OF(flips); i++) {
      flip(at, flips[i]);
      bool fine = read_image(&full, image_size, hex, &why), same = fine && strcmp(hex, whole) == 0;
      flip(at, flips[i]);
      if (!fine) assert_true(why.code == ERROR_IMAGE_VERIFY_FAILED && why.what[0] != '\0');
      found += !same;
      // Noise is stored as it is: every bit of it counts.
      if (at >= data && at < 2 * 131072) assert_false(same);
    }
  }
  assert_true(found > 600);
  for (size_t size = 0; size < image_size; size += size < 200 ? 1 : 4099) assert_false(read_image(&full, size, hex, &why) && strcmp(hex, whole) == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(order_and_pieces), cmocka_unit_test(every_change), cmocka_unit_test(sampling),
    cmocka_unit_test(sample_texts), cmocka_unit_test(times), cmocka_unit_test(image_agrees), cmocka_unit_test(damage)};
  const struct CMUnitTest plain[] = {cmocka_unit_test(damage)};
  return cmocka_run_group_tests(tests, pack_packed, drop) | cmocka_run_group_tests(plain, pack_plain, drop);
}
