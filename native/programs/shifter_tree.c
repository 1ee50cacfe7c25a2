// shifter-tree: a CHOS tree, a directory or an archive of one, becomes the normalised tar stream that an image is made of. It runs without any
// right of its own, in a sandbox: of a directory it can open what is in it and nothing else.
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "merge/blob.h"
#include "merge/sandbox.h"
#include "tree/archive.h"
#include "tree/walk.h"

static const char help[] =
    "shifter-tree --tree DIRECTORY [--skip-unreadable] --bytes N --entries N --directory-entries N --depth N --name-bytes N 3>TAR\n"
    "shifter-tree --ratio N --bytes N --entries N --directory-entries N --depth N --name-bytes N <ARCHIVE 3>TAR\n"
    "\n"
    "Reads a CHOS tree, or a tar archive of one (plain, gzip or zstd), and writes what an image of it holds. On standard output:\n"
    "  note KIND NAME[ -> TARGET]  what became of a name; of each kind the first thousand\n"
    "  count KIND NUMBER           how many there were of a kind\n"
    "  fact KEY VALUE              architecture, glibc, kernel (the oldest it runs on), newest (seconds: of its files)\n"
    "  progress BYTES              so far of the stream\n"
    "  done BYTES ENTRIES SHA256   the stream is complete\n"
    "  fault CODE WHAT\n";

#define OUTPUT 3
#define HOLE_LEAST ((size_t)64 << 10)
#define MEMORY_MOST ((rlim_t)8 << 30)

struct options {
  const char *tree;
  bool skip_unreadable;
  uint64_t bytes, entries, directory_entries, depth, name_bytes, ratio;
};

static bool option(struct options *options, const char *name, const char *value) {
  const struct {
    const char *name;
    uint64_t *into, most;
  } known[] = {{"--bytes", &options->bytes, LARGEST_SIZE}, {"--entries", &options->entries, LARGEST_SIZE}, {"--directory-entries", &options->directory_entries, LARGEST_SIZE},
    {"--depth", &options->depth, 4096}, {"--name-bytes", &options->name_bytes, 4095}, {"--ratio", &options->ratio, LARGEST_SIZE}};
  for (size_t i = 0; i < COUNT_OF(known); i++)
    if (strcmp(name, known[i].name) == 0) return number_parse(value, strlen(value), known[i].most, false, known[i].into) && *known[i].into > 0;
  return false;
}

static bool read_options(int argc, char **argv, struct options *options) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--skip-unreadable") == 0) options->skip_unreadable = true;
    else if (i + 1 == argc) return false;
    else if (strcmp(argv[i], "--tree") == 0) options->tree = argv[++i];
    else if (!option(options, argv[i], argv[i + 1])) return false;
    else i++;
  }
  bool limited = options->bytes > 0 && options->entries > 0 && options->directory_entries > 0 && options->depth > 0 && options->name_bytes > 0;
  return limited && (options->tree == NULL ? options->ratio > 0 && !options->skip_unreadable : options->ratio == 0 && options->tree[0] == '/');
}

// What the system said of the last write that failed.
static int write_error;
// Whether the output is a file with nothing behind its position: there many zeros are a hole, which takes no room.
static bool makes_holes;

static bool look_at_output(void) {
  struct stat status;
  int flags = fcntl(OUTPUT, F_GETFL);
  off_t position = lseek(OUTPUT, 0, SEEK_CUR);
  return flags >= 0 && (flags & O_APPEND) == 0 && fstat(OUTPUT, &status) == 0 && S_ISREG(status.st_mode) && position >= status.st_size;
}

static bool is_zeros(const unsigned char *at, size_t length) {
  return length >= HOLE_LEAST && at[0] == 0 && memcmp(at, at + 1, length - 1) == 0;
}

static bool make_hole(size_t length) {
  off_t end = lseek(OUTPUT, (off_t)length, SEEK_CUR);
  return end >= 0 && ftruncate(OUTPUT, end) == 0;
}

static bool write_output(void *to, const void *at, size_t length) {
  (void)to;
  if (makes_holes && is_zeros(at, length) ? make_hole(length) : write_all(OUTPUT, at, length)) return true;
  write_error = errno;
  return false;
}

static bool limit_self(struct failure *why) {
#if !defined(__SANITIZE_ADDRESS__) // it maps more than there is
  const struct rlimit memory = {MEMORY_MOST, MEMORY_MOST};
  if (setrlimit(RLIMIT_AS, &memory) != 0) return fail(why, ERROR_RESOURCE, "no limit of memory: %s", strerror(errno));
#endif
  (void)why;
  return true;
}

// Where the kernel can do it, nothing outside the tree is opened from now on, whatever this process is made to do.
static bool stay_below(int root, struct failure *why) {
  const struct landlock_ruleset_attr all = {.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
  AUTO_FD rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
  if (rules < 0) return errno == ENOSYS || errno == EOPNOTSUPP || fail(why, ERROR_RESOURCE, "no sandbox: %s", strerror(errno));
  const struct landlock_path_beneath_attr tree = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR, .parent_fd = root};
  if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &tree, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
      syscall(SYS_landlock_restrict_self, rules, 0) == 0)
    return true;
  return fail(why, ERROR_RESOURCE, "no sandbox: %s", strerror(errno));
}

static bool read_directory(const struct options *options, uint64_t key, struct stream *stream, struct report *report, struct failure *why) {
  // The last is qsort's, which asks how much memory there is.
  static const int opening[] = {SYS_openat2, SYS_openat, SYS_newfstatat, SYS_fstat, SYS_statx, SYS_getdents64, SYS_readlinkat, SYS_lseek, SYS_ftruncate, SYS_fcntl, SYS_sysinfo};
  const struct walk_limits limits = {options->directory_entries, (size_t)options->depth};
  AUTO_FD root = walk_open(options->tree, &limits, why);
  if (root < 0 || !stay_below(root, why) || !sandbox_enter_with(opening, COUNT_OF(opening), why)) return false;
  if (!walk_tree(root, &limits, key, stream, why)) return false;
  uint64_t unreadable = report->counts[NOTE_UNREADABLE];
  return unreadable == 0 || options->skip_unreadable ||
         fail(why, ERROR_TREE_UNREADABLE, "%llu of its names can't be read by this account, though everyone may", (unsigned long long)unreadable);
}

static bool read_archive(const struct options *options, const struct stream_limits *limits, struct stream *stream, struct failure *why) {
  static const int placing[] = {SYS_lseek, SYS_ftruncate};
  struct stat status;
  if (fstat(STDIN_FILENO, &status) != 0 || !S_ISREG(status.st_mode)) return fail(why, ERROR_USAGE, "standard input is no regular file");
  const struct blob_limits inflated = {.inflated = options->bytes, .ratio = options->ratio};
  CLEANUP(blob_close) struct blob *blob = blob_open(STDIN_FILENO, 0, (uint64_t)status.st_size, &inflated);
  char digest[SHA256_HEX];
  // To its end: what follows an archive is damaged too if it is cut.
  return sandbox_enter_with(placing, COUNT_OF(placing), why) && archive_read(blob_input(blob), limits, stream, why) && blob_digest(blob, digest, why);
}

static bool convert(const struct options *options, uint64_t key, struct report *report, struct failure *why) {
  const struct stream_limits limits = {options->bytes, options->entries, (size_t)options->depth, (size_t)options->name_bytes};
  CLEANUP(stream_close) struct stream *stream = stream_open(&limits, key, (struct writer_output){write_output, NULL}, report);
  bool read = options->tree != NULL ? read_directory(options, key, stream, report, why) : read_archive(options, &limits, stream, why);
  if (read && stream_finish(stream, why)) return true;
  if (write_error == 0) return false;
  return fail(why, write_error == ENOSPC || write_error == EDQUOT ? ERROR_STORAGE_FULL : ERROR_STATE_UNUSABLE, "the stream can't be written: %s", strerror(write_error));
}

int main(int argc, char **argv) {
  struct failure why = {0};
  struct options options = {0};
  CLEANUP(report_free) struct report report = {.fd = STDOUT_FILENO};
  uint64_t key;
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return write_all(STDOUT_FILENO, help, sizeof help - 1) ? 0 : 1;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("shifter-tree " PROGRAM_VERSION) >= 0 ? 0 : 1;
  signal(SIGPIPE, SIG_IGN);
  blob_prepare();
  makes_holes = look_at_output();
  bool ready = read_options(argc, argv, &options) || fail(&why, ERROR_USAGE, "the options are not those of --help");
  ready = ready && (getrandom(&key, sizeof key, 0) == (ssize_t)sizeof key || fail(&why, ERROR_RESOURCE, "no random numbers: %s", strerror(errno)));
  if (ready && limit_self(&why) && convert(&options, key, &report, &why)) return 0;
  report_counts(&report);
  report_fault(&report, &why);
  return error_exit(why.code);
}
