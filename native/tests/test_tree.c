// CHOS trees: what the rules say of names and links, what is read of programs, and the stream of a directory and of an archive.
#include "testing.h"

#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "tests/making.h"
#include "tree/archive.h"
#include "tree/elf.h"
#include "tree/walk.h"

// --- rules -----------------------------------------------------------------------------------------------------------------------

static void rulings(void **state) {
  (void)state;
  static const struct {
    const char *path, *target;
    enum tree_fate fate;
    enum tree_note note;
    const char *link;
  } rows[] = {
    {"", NULL, TREE_KEEP, NOTE_NONE, NULL},
    {"etc", NULL, TREE_KEEP, NOTE_NONE, NULL},
    {"etc/passwd", NULL, TREE_KEEP, NOTE_NONE, NULL},
    // Names.
    {"dev", NULL, TREE_EMPTY, NOTE_PSEUDO, NULL},
    {"dev/null", NULL, TREE_DROP, NOTE_PSEUDO, NULL},
    {"devices", NULL, TREE_KEEP, NOTE_NONE, NULL},
    {"usr/dev", NULL, TREE_KEEP, NOTE_NONE, NULL},
    {"boot", NULL, TREE_DROP, NOTE_PSEUDO, NULL},
    {"boot/a/b", NULL, TREE_DROP, NOTE_PSEUDO, NULL},
    {"lib/modules", NULL, TREE_EMPTY, NOTE_PSEUDO, NULL},
    {"lib/modules/5/x", NULL, TREE_DROP, NOTE_PSEUDO, NULL},
    {"lib/modules-load.d", NULL, TREE_KEEP, NOTE_NONE, NULL},
    {"var/log/lastlog", NULL, TREE_DROP, NOTE_PSEUDO, NULL},
    {"var/log/wtmp", NULL, TREE_DROP, NOTE_PSEUDO, NULL},
    {"var/log/btmp-2026", NULL, TREE_DROP, NOTE_PSEUDO, NULL},
    {"var/log/messages", NULL, TREE_KEEP, NOTE_NONE, NULL},
    {"var/tmp", NULL, TREE_EMPTY, NOTE_PSEUDO, NULL},
    {"etc/shadow", NULL, TREE_DROP, NOTE_SECRET, NULL},
    {"etc/shadow-", NULL, TREE_DROP, NOTE_SECRET, NULL},
    {"etc/shadow.old", NULL, TREE_DROP, NOTE_SECRET, NULL},
    {"etc/shadow/a", NULL, TREE_DROP, NOTE_SECRET, NULL},
    {"etc/shadowy", NULL, TREE_KEEP, NOTE_NONE, NULL},
    {"etc/ssh/ssh_host_rsa_key", NULL, TREE_DROP, NOTE_SECRET, NULL},
    {"etc/ssh/ssh_host_rsa_key.pub", NULL, TREE_KEEP, NOTE_NONE, NULL},
    {"etc/ssh/a/b_key", NULL, TREE_KEEP, NOTE_NONE, NULL},
    {"root/.ssh", NULL, TREE_DROP, NOTE_SECRET, NULL},
    {"root/.ssh/id", NULL, TREE_DROP, NOTE_SECRET, NULL},
    {"a/.wh.b", NULL, TREE_DROP, NOTE_RESERVED, NULL},
    {".wh.b", NULL, TREE_DROP, NOTE_RESERVED, NULL},
    {"a.wh.b", NULL, TREE_KEEP, NOTE_NONE, NULL},
    // Links into the machine around the tree.
    {"etc/passwd", "/local/etc/passwd", TREE_DROP, NOTE_SITE_LINK, NULL},
    {"etc/a/b", "/local", TREE_DROP, NOTE_SITE_LINK, NULL},
    {"etc/a", "//local/./x", TREE_DROP, NOTE_SITE_LINK, NULL},
    {"etc/a", "../local/x", TREE_DROP, NOTE_SITE_LINK, NULL},
    {"etc/a", "/usr/../local/x", TREE_DROP, NOTE_SITE_LINK, NULL},
    {"etc/a", "/localhost", TREE_KEEP, NOTE_NONE, NULL},
    {"etc/a", "local/x", TREE_KEEP, NOTE_NONE, NULL},
    {"var/tmp", "/local/var/tmp", TREE_DIRECTORY, NOTE_SITE_DIRECTORY, NULL},
    {"var/run", "/local/var/run", TREE_DIRECTORY, NOTE_SITE_DIRECTORY, NULL},
    {"tmp", "/local/tmp", TREE_DIRECTORY, NOTE_SITE_DIRECTORY, NULL},
    {"etc", "/local/etc", TREE_DIRECTORY, NOTE_SITE_DIRECTORY, NULL},
    {"var", "local/var", TREE_DIRECTORY, NOTE_SITE_DIRECTORY, NULL},
    {"tmp", "/var/tmp", TREE_KEEP, NOTE_NONE, NULL},
    {"usr/a", "/local/a", TREE_KEEP, NOTE_NONE, NULL},
    {"etc/shadow", "/local/etc/shadow", TREE_DROP, NOTE_SECRET, NULL},
    // Links of CHOS.
    {"lib/a", "/proc/chos/link/lib/b", TREE_LINK, NOTE_REWRITTEN, "/lib/b"},
    {"lib/a", "/proc/chos/link", TREE_LINK, NOTE_REWRITTEN, "/"},
    {"lib/a", "/proc/chos/link/", TREE_LINK, NOTE_REWRITTEN, "/"},
    {"lib/a", "/chos", TREE_LINK, NOTE_REWRITTEN, "/"},
    {"lib/a", "/chos/chos/proc/chos/link/x", TREE_LINK, NOTE_REWRITTEN, "/x"},
    {"lib/a", "../proc/chos/link/x", TREE_LINK, NOTE_REWRITTEN, "/x"},
    {"lib/a", "/proc/chos/link/../x", TREE_KEEP, NOTE_NONE, NULL},
    {"lib/a", "/proc/chos/linked/x", TREE_KEEP, NOTE_NONE, NULL},
    {"lib/a", "/chosen", TREE_KEEP, NOTE_NONE, NULL},
    {"lib/a", "/proc/chos/link/lib/a", TREE_DROP, NOTE_LOOP, NULL},
    {"usr", "/chos/usr", TREE_DROP, NOTE_LOOP, NULL},
    {"etc/a", "/proc/chos/link/local/etc/a", TREE_DROP, NOTE_SITE_LINK, NULL},
    {"var/a", "/chos/local/a", TREE_DIRECTORY, NOTE_SITE_DIRECTORY, NULL},
    // A link may leave the root upwards, where there is nothing but the root.
    {"a", "../../../../local/x", TREE_KEEP, NOTE_NONE, NULL},
    {"etc/a", "../../../../local/x", TREE_DROP, NOTE_SITE_LINK, NULL},
  };
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_RULING ruling;
    tree_rule(rows[i].path, rows[i].target, &ruling);
    const char *link = ruling.link.at;
    if (ruling.fate != rows[i].fate || ruling.note != rows[i].note || (rows[i].link == NULL ? link != NULL : link == NULL || strcmp(link, rows[i].link) != 0))
      fail_row("%s -> %s: %d %s %s", rows[i].path, rows[i].target == NULL ? "" : rows[i].target, (int)ruling.fate, tree_note_name(ruling.note), link == NULL ? "" : link);
    if (ruling.fate == TREE_DIRECTORY) assert_int_equal(ruling.mode, strstr(rows[i].path, "tmp") != NULL ? 01777 : 0755);
  }
}

// --- programs --------------------------------------------------------------------------------------------------------------------

static void put_number(unsigned char *at, size_t size, bool big, uint64_t value) {
  for (size_t i = 0; i < size; i++, value >>= 8) at[big ? size - 1 - i : i] = (unsigned char)value;
}

// A library with one note, as wide as asked.
static size_t make_library(unsigned char out[static 512], bool wide, bool big, uint16_t machine, uint32_t name_size) {
  memset(out, 0, 512);
  memcpy(out, ELFMAG, SELFMAG);
  out[EI_CLASS] = wide ? ELFCLASS64 : ELFCLASS32;
  out[EI_DATA] = big ? ELFDATA2MSB : ELFDATA2LSB;
  put_number(out + 16, 2, big, ET_DYN);
  put_number(out + 18, 2, big, machine);
  size_t header = wide ? 64 : 52, size = wide ? 56 : 32, note = header + 2 * size;
  put_number(out + (wide ? 32 : 28), wide ? 8 : 4, big, header);
  put_number(out + (wide ? 54 : 42), 2, big, size);
  put_number(out + (wide ? 56 : 44), 2, big, 2);
  put_number(out + header, 4, big, PT_LOAD);
  put_number(out + header + size, 4, big, PT_NOTE);
  put_number(out + header + size + (wide ? 8 : 4), wide ? 8 : 4, big, note);
  put_number(out + header + size + (wide ? 32 : 16), wide ? 8 : 4, big, 32);
  put_number(out + note, 4, big, name_size);
  put_number(out + note + 4, 4, big, 16);
  put_number(out + note + 8, 4, big, NT_GNU_ABI_TAG);
  memcpy(out + note + 12, "GNU", 4);
  const uint32_t version[] = {0, 2, 6, 32};
  for (size_t i = 0; i < 4; i++) put_number(out + note + 16 + 4 * i, 4, big, version[i]);
  return note + 32;
}

static void programs(void **state) {
  (void)state;
  static const struct {
    bool wide, big;
    uint16_t machine;
    const char *word;
  } rows[] = {{true, false, EM_X86_64, "amd64"}, {false, false, EM_386, "386"}, {true, false, EM_AARCH64, "arm64"}, {true, false, EM_PPC64, "ppc64le"},
    {true, true, EM_PPC64, "ppc64"}, {true, true, EM_S390, "s390x"}, {true, false, EM_RISCV, "riscv64"}, {false, false, EM_X86_64, NULL}, {true, false, 9999, NULL}};
  unsigned char bytes[512];
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    size_t length = make_library(bytes, rows[i].wide, rows[i].big, rows[i].machine, 4);
    struct elf_kind kind = elf_kind(bytes, length);
    const char *word = elf_architecture(kind);
    assert_int_equal(kind.machine, rows[i].machine);
    assert_true(word == NULL ? rows[i].word == NULL : rows[i].word != NULL && strcmp(word, rows[i].word) == 0);
    struct elf_kernel kernel = {0};
    assert_true(elf_oldest_kernel(bytes, length, &kernel));
    assert_true(kernel.major == 2 && kernel.minor == 6 && kernel.patch == 32);
    // Cut anywhere it has no note, and nothing is read past its end.
    for (size_t cut = 0; cut < length; cut++) {
      unsigned char *part = memory_get(cut + 1, 1);
      memcpy(part, bytes, cut);
      part = memory_resize(part, cut == 0 ? 1 : cut, 1);
      assert_false(elf_oldest_kernel(part, cut, &kernel));
      free(part);
    }
    make_library(bytes, rows[i].wide, rows[i].big, rows[i].machine, UINT32_MAX);
    assert_false(elf_oldest_kernel(bytes, length, &kernel));
  }
  assert_int_equal(elf_kind((const unsigned char *)"#!/bin/sh and more of it", 24).machine, 0);
}

static void libraries(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint32_t major, minor;
  } rows[] = {{"x GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\n", 2, 36}, {"GNU C Library stable release version 2.5, by Roland", 2, 5},
    {"GNU C Library development release version 2.3.2, by", 2, 3}, {"GNU C Library GNU C Library release version 2.9", 2, 9}, {"GNU C Library release version x", 0, 0},
    {"GNU C Library release version 2", 0, 0}, {"GNU C Library", 0, 0}, {"release version 2.3", 0, 0}, {"", 0, 0}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_FREE char *copy = memory_get(strlen(rows[i].text) + 1, 1);
    memcpy(copy, rows[i].text, strlen(rows[i].text));
    struct elf_glibc version = {0};
    bool found = elf_glibc((const unsigned char *)copy, strlen(rows[i].text), &version);
    if (found != (rows[i].major != 0) || (found && (version.major != rows[i].major || version.minor != rows[i].minor))) fail_row("%s: %u.%u", rows[i].text, version.major, version.minor);
  }
}

// --- streams ---------------------------------------------------------------------------------------------------------------------

static const struct stream_limits wide = {.bytes = 1 << 30, .entries = 1000, .depth = 64, .name_bytes = 4095};
static const struct walk_limits wide_walk = {.directory_entries = 1000, .depth = 64};

static bool keep(void *to, const void *at, size_t length) {
  buffer_add(to, at, length);
  return true;
}

// What a conversion said, and the archive that it wrote.
struct result {
  struct buffer tar, said;
  struct failure why;
  bool whole;
};
#define AUTO_RESULT CLEANUP(result_free) struct result

static void result_free(struct result *result) {
  buffer_free(&result->tar);
  buffer_free(&result->said);
}

static int reports = -1;

static void take_report(struct report *report, struct result *result) {
  if (!result->whole) report_counts(report), report_fault(report, &result->why);
  assert_int_equal(lseek(reports, 0, SEEK_SET), 0);
  assert_true(read_all(reports, 1 << 20, &result->said));
  report_free(report);
}

static struct report new_report(void) {
  if (reports < 0) reports = memfd_create("report", MFD_CLOEXEC);
  assert_true(reports >= 0 && ftruncate(reports, 0) == 0 && lseek(reports, 0, SEEK_SET) == 0);
  return (struct report){.fd = reports};
}

static void convert_archive(const struct buffer *archive, const struct stream_limits *limits, struct result *result) {
  *result = (struct result){0};
  struct report report = new_report();
  struct tar_whole whole = {archive, false};
  CLEANUP(stream_close) struct stream *stream = stream_open(limits, 7, (struct writer_output){keep, &result->tar}, &report);
  result->whole = archive_read((struct tar_input){tar_whole_give, &whole}, limits, stream, &result->why) && stream_finish(stream, &result->why);
  take_report(&report, result);
}

static void convert_directory(const char *path, const struct walk_limits *limits, struct result *result) {
  *result = (struct result){0};
  struct report report = new_report();
  CLEANUP(stream_close) struct stream *stream = stream_open(&wide, 7, (struct writer_output){keep, &result->tar}, &report);
  int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  assert_true(root >= 0);
  result->whole = walk_tree(root, limits, 7, stream, &result->why) && stream_finish(stream, &result->why);
  close(root);
  take_report(&report, result);
}

// A line for each entry, as the tar reader understands it.
static void listing(const struct buffer *tar, struct buffer *out) {
  static const char types[] = "-hlcbdp";
  struct failure why;
  struct tar_whole whole = {tar, false};
  CLEANUP(tar_close) struct tar_reader *reader = tar_open((struct tar_input){tar_whole_give, &whole});
  const struct tar_entry *entry;
  enum tar_step step;
  while ((step = tar_next(reader, &entry, &why)) == TAR_ENTRY) {
    buffer_print(out, "%c %o ", types[entry->type], (unsigned)entry->mode);
    buffer_visible(out, entry->name);
    if (entry->link_length > 0) buffer_print(out, " -> %s", entry->link);
    if (entry->type == TAR_REGULAR) buffer_print(out, " %llu", (unsigned long long)entry->size);
    buffer_byte(out, '\n');
  }
  assert_int_equal(step, TAR_END);
}

static void expect_listing(const struct result *result, const char *expected) {
  AUTO_BUFFER text = {0};
  if (!result->whole) fail_row("%s", result->why.what);
  listing(&result->tar, &text);
  if (strcmp(text.at, expected) != 0) fail_row("%s", text.at);
}

static void expect_said(const struct result *result, const char *line) {
  if (strstr(result->said.at, line) == NULL) fail_row("\"%s\" is not in:\n%s", line, result->said.at);
}

static void put_file(struct buffer *archive, const char *name, const char *content, size_t length) {
  tar_header(archive, '0', name, "", length);
  tar_data(archive, content, length);
}

static void put_shell(struct buffer *archive, const char *name) {
  unsigned char program[512];
  size_t length = make_library(program, true, false, EM_X86_64, 4);
  put_file(archive, name, (const char *)program, length);
}

static void archives(void **state) {
  (void)state;
  AUTO_BUFFER archive = {0};
  tar_header(&archive, '5', "./", "", 0);
  tar_header(&archive, '5', "./usr/bin/", "", 0);
  put_shell(&archive, "./usr/bin/dash");
  tar_header(&archive, '2', "usr/bin/sh", "dash", 0);
  tar_header(&archive, '2', "bin", "usr/bin", 0);
  put_file(&archive, "etc/./shadow", "x", 1);
  tar_header(&archive, '1', "backup", "etc//shadow", 0);
  tar_header(&archive, '1', "etc/dash", "usr/bin/dash", 0);
  tar_header(&archive, '1', "boot/dash", "usr/bin/dash", 0);
  tar_header(&archive, '3', "null", "", 0);
  tar_header(&archive, '2', "var/tmp", "/local/var/tmp", 0);
  tar_header(&archive, '2', "lib", "/proc/chos/link/usr/bin", 0);
  tar_header(&archive, '2', "gone", "/usr/none", 0);
  tar_header(&archive, '2', "round", "/round", 0);
  tar_header(&archive, '2', "there", "/bin/../bin/./sh", 0);
  put_file(&archive, "tmp/left", "x", 1);
  AUTO_RESULT result;
  convert_archive(&archive, &wide, &result);
  expect_listing(&result,
    "d 755 .\nd 755 usr/bin\n- 644 usr/bin/dash 208\nl 644 usr/bin/sh -> dash\nl 644 bin -> usr/bin\nh 644 etc/dash -> usr/bin/dash\nd 1777 var/tmp\nl 644 lib -> /usr/bin\n"
    "l 644 gone -> /usr/none\nl 644 round -> /round\nl 644 there -> /bin/../bin/./sh\n");
  static const char *const lines[] = {"note secret etc/shadow\n", "note secret backup\n", "note special null\n", "note pseudo boot/dash\n", "note pseudo tmp/left\n",
    "note dangling gone -> /usr/none\n", "note dangling round -> /round\n", "count dangling 2\n", "fact architecture amd64\n"};
  for (size_t i = 0; i < COUNT_OF(lines); i++) expect_said(&result, lines[i]);
  assert_null(strstr(result.said.at, "dangling there"));
}

// What is told of links: those of which what they led to is not there any more.
static void links_to_nothing(void **state) {
  (void)state;
  static const struct {
    const char *name, *target;
    bool told;
  } rows[] = {{"etc/passwd", "/local/etc/passwd", false}, {"by-root", "/etc/passwd", false}, {"by-place", "etc/passwd", false}, {"etc/motd", "/local/etc/motd", false},
    {"motd", "etc/motd", true}, {"motd2", "motd", true}, {"opt", "/local/opt", true}, {"program", "opt/bin/program", true}, {"boot/kernel", "x", false}, {"kernel", "boot/kernel", true},
    {"never", "etc/none", false}, {"mounts", "/mounts2", false}, {"mounts2", "proc/mounts", false}, {"etc/group2", "/etc/group", false}, {"etc/groups", "/etc/groups2", true},
    {"var/run", "/local/var/run", false}, {"pid", "var/run", false}, {"pid2", "/var/run/x.pid", true}};
  AUTO_BUFFER archive = {0};
  put_shell(&archive, "bin/sh");
  for (size_t i = 0; i < COUNT_OF(rows); i++) tar_header(&archive, '2', rows[i].name, rows[i].target, 0);
  AUTO_RESULT result;
  convert_archive(&archive, &wide, &result);
  assert_true(result.whole);
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_BUFFER line = {0};
    buffer_print(&line, "note dangling %s -> %s\n", rows[i].name, rows[i].target);
    if ((strstr(result.said.at, line.at) != NULL) != rows[i].told) fail_row("%s -> %s in:\n%s", rows[i].name, rows[i].target, result.said.at);
  }
}

// A file is left out by the name that the rules name; a secret by all its names, and what an archive has no other content of.
static void other_names(void **state) {
  (void)state;
  AUTO_BUFFER archive = {0};
  put_shell(&archive, "bin/sh");
  put_file(&archive, "boot/x", "x", 1);
  tar_header(&archive, '1', "usr/x", "boot/x", 0);
  put_file(&archive, "usr/.wh.y", "y", 1);
  tar_header(&archive, '1', "usr/y", "usr/.wh.y", 0);
  tar_header(&archive, '2', "opt/local", "../local/x", 0);
  tar_header(&archive, '1', "usr/local2", "opt/local", 0);
  tar_header(&archive, '1', "etc/local2", "opt/local", 0);
  tar_header(&archive, '2', "var/run", "/local/run", 0);
  tar_header(&archive, '1', "usr/run", "var/run", 0);
  tar_header(&archive, '1', "var/lock", "etc/local2", 0);
  tar_header(&archive, '2', "etc/motd", "/local/motd", 0);
  tar_header(&archive, '1', "usr/motd", "etc/motd", 0);
  tar_header(&archive, '2', "usr/sh", "/chos/bin/sh", 0);
  tar_header(&archive, '1', "etc/sh", "usr/sh", 0);
  AUTO_RESULT result, replaced;
  convert_archive(&archive, &wide, &result);
  expect_listing(&result, "- 644 bin/sh 208\nl 644 opt/local -> ../local/x\nl 644 usr/local2 -> ../local/x\n"
    "d 755 var/run\nl 644 usr/run -> /local/run\nd 755 var/lock\nl 644 usr/motd -> /local/motd\nl 644 usr/sh -> /bin/sh\nl 644 etc/sh -> /bin/sh\n");
  expect_said(&result, "note site-link etc/local2 -> ../local/x\n");
  expect_said(&result, "note linked usr/x -> boot/x\n");
  expect_said(&result, "note linked usr/y -> usr/.wh.y\n");
  // The last of a name counts.
  tar_header(&archive, '5', "bin/sh", "", 0);
  convert_archive(&archive, &wide, &replaced);
  assert_int_equal(replaced.why.code, ERROR_TREE_INVALID);
}

static void archive_refusals(void **state) {
  (void)state;
  static const struct {
    char flag;
    const char *name, *link, *says;
    enum error_code code;
  } rows[] = {
    {'0', "../x", "", "has a '..'", ERROR_LAYER_INVALID},
    {'0', "/etc/x", "", "is absolute", ERROR_LAYER_INVALID},
    {'1', "x", "none", "is a hard link to nothing before it", ERROR_LAYER_INVALID},
    {'1', "x", "../bin/sh", "its target has a '..'", ERROR_LAYER_INVALID},
    {'2', ".", "x", "is the root and no directory", ERROR_LAYER_INVALID},
    {'2', "x", "", "link", ERROR_LAYER_INVALID},
    {'1', "x", ".", "is a hard link to", ERROR_LAYER_INVALID},
    {'5', "1/2/3/4/5/6/7/8/9", "", "more than 8 components", ERROR_LIMIT_EXCEEDED},
    {'5', "d9", "", "", ERROR_TREE_INVALID}, // and nothing else is wrong
  };
  static const struct stream_limits narrow = {.bytes = 1 << 20, .entries = 10, .depth = 8, .name_bytes = 100};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_BUFFER archive = {0};
    tar_header(&archive, rows[i].flag, rows[i].name, rows[i].link, 0);
    AUTO_RESULT result;
    convert_archive(&archive, &narrow, &result);
    if (result.whole || result.why.code != rows[i].code || strstr(result.why.what, rows[i].says) == NULL) fail_row("%s: %s %s", rows[i].name, error_name(result.why.code), result.why.what);
    expect_said(&result, "fault ");
  }
  AUTO_BUFFER many = {0}, large = {0};
  AUTO_RESULT of_many, of_large;
  for (int i = 0; i < 11; i++) {
    char name[] = "file-a";
    name[5] = (char)('a' + i);
    put_file(&many, name, "x", 1);
  }
  convert_archive(&many, &narrow, &of_many);
  assert_int_equal(of_many.why.code, ERROR_LIMIT_EXCEEDED);
  tar_header(&large, '0', "large", "", (uint64_t)1 << 31);
  convert_archive(&large, &narrow, &of_large);
  assert_int_equal(of_large.why.code, ERROR_LIMIT_EXCEEDED);
  assert_non_null(strstr(of_large.why.what, "alone has more than 1048576 bytes"));
}

// --- directories -----------------------------------------------------------------------------------------------------------------

static char tree[64];

static void at(char path[static 128], const char *name) {
  assert_true(snprintf(path, 128, "%s/%s", tree, name) < 128);
}

static void make_file(const char *name, const void *content, size_t length, mode_t mode) {
  char path[128];
  at(path, name);
  AUTO_FD file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  assert_true(file >= 0 && write_all(file, content, length) && fchmod(file, mode) == 0);
}

static void make_directory(const char *name, mode_t mode) {
  char path[128];
  at(path, name);
  assert_true(mkdir(path, 0755) == 0 && chmod(path, mode) == 0);
}

static void make_link(const char *name, const char *target) {
  char path[128];
  at(path, name);
  assert_int_equal(symlink(target, path), 0);
}

static void remove_tree(void) {
  pid_t child = fork();
  if (child == 0) {
    execl("/bin/rm", "rm", "-rf", tree, NULL);
    _exit(127);
  }
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

static void begin_tree(void) {
  unsigned char program[512];
  size_t length = make_library(program, true, false, EM_X86_64, 4);
  (void)snprintf(tree, sizeof tree, "/tmp/shifter-tree-XXXXXX");
  assert_non_null(mkdtemp(tree));
  assert_int_equal(chmod(tree, 0755), 0);
  make_directory("bin", 0755);
  make_file("bin/sh", program, length, 0755);
}

static void directories(void **state) {
  (void)state;
  begin_tree();
  make_directory("b", 0755);
  make_directory("b/closed", 0711);
  make_file("b/closed/x", "x", 1, 0644);
  make_file("b/own", "x", 1, 0640);
  make_file("b/a", "hello", 5, 04755);
  make_file("b/.hidden", "", 0, 0644);
  make_link("b/l", "../../../etc/passwd");
  make_directory("dev", 0755);
  make_file("dev/x", "x", 1, 0644);
  char from[128], to[128];
  at(from, "b/a"), at(to, "b/z");
  assert_int_equal(link(from, to), 0);
  at(from, "b/own"), at(to, "b/own2");
  assert_int_equal(link(from, to), 0);
  at(to, "b/pipe");
  assert_int_equal(mkfifo(to, 0644), 0);
  AUTO_RESULT result, again;
  convert_directory(tree, &wide_walk, &result);
  expect_listing(&result, "d 755 .\nd 755 b\n- 644 b/.hidden 0\n- 4755 b/a 5\nd 711 b/closed\nl 777 b/l -> ../../../etc/passwd\nh 4755 b/z -> b/a\nd 755 bin\n- 755 bin/sh 208\nd 755 dev\n");
  static const char *const lines[] = {"note private b/closed\n", "note private b/own\n", "note private b/own2\n", "note special b/pipe\n", "note pseudo dev\n", "count private 3\n"};
  for (size_t i = 0; i < COUNT_OF(lines); i++) expect_said(&result, lines[i]);
  convert_directory(tree, &wide_walk, &again);
  assert_string_equal(result.said.at, again.said.at);
  // A directory of many names.
  AUTO_RESULT narrow;
  const struct walk_limits few = {.directory_entries = 3, .depth = 64};
  convert_directory(tree, &few, &narrow);
  assert_int_equal(narrow.why.code, ERROR_LIMIT_EXCEEDED);
  remove_tree();
}

static void other_names_of_directories(void **state) {
  (void)state;
  static const char *const pairs[][2] = {{"etc/fstab", "etc/table"}, {"usr/.wh.x", "usr/x"}, {"etc/shadow", "etc/zz"}};
  begin_tree();
  make_directory("etc", 0755);
  make_directory("usr", 0755);
  for (size_t i = 0; i < COUNT_OF(pairs); i++) {
    char from[128], to[128];
    make_file(pairs[i][0], "x", 1, 0644);
    at(from, pairs[i][0]), at(to, pairs[i][1]);
    assert_int_equal(link(from, to), 0);
  }
  AUTO_RESULT result;
  convert_directory(tree, &wide_walk, &result);
  expect_listing(&result, "d 755 .\nd 755 bin\n- 755 bin/sh 208\nd 755 etc\n- 644 etc/table 1\nd 755 usr\n- 644 usr/x 1\n");
  expect_said(&result, "note secret etc/zz\n");
  remove_tree();
}

// What happens to the tree at the moment when the stream is written that far.
struct disturbance {
  uint64_t when, written;
  void (*happens)(void);
  struct buffer *tar;
};

static bool keep_disturbed(void *to, const void *bytes, size_t length) {
  struct disturbance *disturbance = to;
  bool before = disturbance->written < disturbance->when;
  disturbance->written += length;
  if (before && disturbance->written >= disturbance->when) disturbance->happens();
  buffer_add(disturbance->tar, bytes, length);
  return true;
}

static void convert_disturbed(uint64_t when, void (*happens)(void), struct result *result) {
  *result = (struct result){0};
  struct report report = new_report();
  struct disturbance disturbance = {when, 0, happens, &result->tar};
  CLEANUP(stream_close) struct stream *stream = stream_open(&wide, 7, (struct writer_output){keep_disturbed, &disturbance}, &report);
  AUTO_FD root = open(tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
  assert_true(root >= 0);
  result->whole = walk_tree(root, &wide_walk, 7, stream, &result->why) && stream_finish(stream, &result->why);
  take_report(&report, result);
}

static void shorten(void) {
  char path[128];
  at(path, "large");
  assert_int_equal(truncate(path, 5 << 20), 0);
}

static void take_away(void) {
  char path[128];
  at(path, "z");
  assert_int_equal(unlink(path), 0);
  at(path, "zz");
  assert_int_equal(unlink(path), 0);
  assert_int_equal(symlink("/etc/passwd", path), 0);
}

static void lengthen(void) {
  char path[128];
  at(path, "large");
  assert_int_equal(truncate(path, 9 << 20), 0);
}

// A tree that changes while it is read is read to its end, and what changed is told.
static void disturbed(void **state) {
  (void)state;
  static unsigned char large[8 << 20];
  memset(large, 'x', sizeof large);
  static const struct {
    void (*happens)(void);
    const char *said;
    size_t zeros; // from here on
    bool has_z;
  } rows[] = {{shorten, "note changed large\n", 5 << 20, true}, {lengthen, "note changed large\n", sizeof large, true}, {take_away, "note vanished z\n", sizeof large, false}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    begin_tree();
    make_file("large", large, sizeof large, 0644);
    make_file("z", "x", 1, 0644);
    make_file("zz", "x", 1, 0644);
    AUTO_RESULT result;
    convert_disturbed(1 << 20, rows[i].happens, &result);
    AUTO_BUFFER expected = {0};
    buffer_text(&expected, "d 755 .\nd 755 bin\n- 755 bin/sh 208\n- 644 large 8388608\n");
    buffer_text(&expected, rows[i].has_z ? "- 644 z 1\n- 644 zz 1\n" : "l 777 zz -> /etc/passwd\n");
    expect_listing(&result, expected.at);
    expect_said(&result, rows[i].said);
    size_t count = 0;
    for (size_t n = 0; n < result.tar.length; n++) count += result.tar.at[n] == 'x';
    assert_in_range(count, rows[i].zeros, rows[i].zeros + 100);
    remove_tree();
  }
}

// A file that grows out of what is read at once, right behind the reading.
static void (*behind_reading)(void);

ssize_t pread(int fd, void *to, size_t length, off_t from) {
  ssize_t got = syscall(SYS_pread64, fd, to, length, from);
  void (*happens)(void) = behind_reading;
  behind_reading = NULL;
  if (happens != NULL) happens();
  return got;
}

static void grow(void) {
  char path[128];
  at(path, "small");
  assert_int_equal(truncate(path, 5 << 20), 0);
}

static void shrink(void) {
  char path[128];
  at(path, "small");
  assert_int_equal(truncate(path, 1), 0);
}

static void settled(void **state) {
  (void)state;
  static const struct {
    void (*happens)(void);
    unsigned size;
  } rows[] = {{grow, 5 << 20}, {shrink, 1}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    begin_tree();
    // The shell is read behind it.
    char from[128], to[128];
    make_file("small", "four", 4, 0644);
    at(from, "bin"), at(to, "usr");
    assert_int_equal(rename(from, to), 0);
    make_link("bin", "usr");
    behind_reading = rows[i].happens;
    AUTO_RESULT result;
    convert_directory(tree, &wide_walk, &result);
    AUTO_BUFFER expected = {0};
    buffer_print(&expected, "d 755 .\nl 777 bin -> usr\n- 644 small %u\nd 755 usr\n- 755 usr/sh 208\n", rows[i].size);
    expect_listing(&result, expected.at);
    assert_null(strstr(result.said.at, "changed"));
    remove_tree();
  }
}

// Somebody exchanges what is read for what must not be, as fast as he can.
static atomic_bool exchanging;

static void *exchange(void *unused) {
  char file[128], link[128], place[128], directory[128], moved[128];
  at(file, "race/file"), at(link, "race/link"), at(place, "race/place"), at(directory, "race/dir"), at(moved, "race/moved");
  while (atomic_load(&exchanging)) {
    if (rename(file, place) == 0) rename(place, file);
    if (rename(link, place) == 0) rename(place, link);
    if (rename(directory, moved) == 0) {
      if (symlink("/etc", directory) == 0) unlink(directory);
      rename(moved, directory);
    }
    AUTO_FD growing = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (growing >= 0 && (ftruncate(growing, 100) != 0 || ftruncate(growing, 9) != 0)) return unused;
  }
  return unused;
}

static void races(void **state) {
  (void)state;
  begin_tree();
  make_directory("race", 0755);
  make_directory("race/dir", 0755);
  make_file("race/dir/inside", "mine", 4, 0644);
  make_file("race/file", "mine mine", 9, 0644);
  make_link("race/link", "/etc/passwd");
  atomic_store(&exchanging, true);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, exchange, NULL), 0);
  for (int i = 0; i < 1000; i++) {
    AUTO_RESULT result;
    convert_directory(tree, &wide_walk, &result);
    if (!result.whole) fail_row("%s", result.why.what);
    AUTO_BUFFER text = {0};
    listing(&result.tar, &text);
    // Nothing of /etc is there, whatever the names were at a moment.
    assert_null(strstr(text.at, "passwd "));
    assert_null(memmem(result.tar.at, result.tar.length, "root:", 5));
  }
  atomic_store(&exchanging, false);
  assert_int_equal(pthread_join(thread, NULL), 0);
  remove_tree();
}

static void roots(void **state) {
  (void)state;
  struct failure why = {0};
  // Others can write to the directory above.
  begin_tree();
  assert_int_equal(walk_open(tree, &wide_walk, &why), -1);
  assert_int_equal(why.code, ERROR_TREE_UNSAFE);
  remove_tree();
  assert_int_equal(walk_open("/no-such-tree", &wide_walk, &why), -1);
  assert_int_equal(why.code, ERROR_TREE_UNREADABLE);
  AUTO_FD usr = walk_open("/usr", &wide_walk, &why);
  assert_true(usr >= 0);
  assert_int_equal(walk_open("/proc/self/root", &wide_walk, &why), -1);
  assert_int_equal(why.code, ERROR_TREE_UNSAFE);
  const struct walk_limits deep = {.directory_entries = 1, .depth = (size_t)1 << 40};
  assert_int_equal(walk_open("/usr", &deep, &why), -1);
  assert_int_equal(why.code, ERROR_RESOURCE);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rulings), cmocka_unit_test(programs), cmocka_unit_test(libraries), cmocka_unit_test(archives),
    cmocka_unit_test(links_to_nothing), cmocka_unit_test(other_names), cmocka_unit_test(archive_refusals), cmocka_unit_test(directories),
    cmocka_unit_test(other_names_of_directories), cmocka_unit_test(disturbed), cmocka_unit_test(settled), cmocka_unit_test(races), cmocka_unit_test(roots)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
