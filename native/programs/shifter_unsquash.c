// shifter-unsquash: a foreign squashfs on standard input becomes a tar stream on standard output. The kernel never mounts it: its code for
// file systems trusts what it reads. Like shifter-merge this runs without any right, in a sandbox.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "merge/sandbox.h"
#include "merge/unsquash.h"

static const char help[] =
    "shifter-unsquash --bytes N --ratio N --entries N --depth N --name-bytes N <IMAGE >TAR\n"
    "\n"
    "Reads a regular file that holds a squashfs. The stream has at most so many bytes, and the ratio times the size of the image; the image\n"
    "at most so many names, of so many components and bytes. On standard error, when it fails: CODE WHAT.\n";

// An image can ask for far more than reading it takes.
#define MEMORY_MOST ((rlim_t)4 << 30)
#define SECONDS_MOST ((rlim_t)6 * 3600)

static int refuse(const struct failure *why) {
  AUTO_BUFFER line = {0};
  failure_report(why, &line);
  write_message(&line);
  return error_exit(why->code);
}

static bool option(struct unsquash_limits *limits, const char *name, const char *value) {
  uint64_t depth = 0, name_bytes = 0;
  const struct {
    const char *name;
    uint64_t *into, most;
  } known[] = {{"--bytes", &limits->bytes, LARGEST_SIZE}, {"--ratio", &limits->ratio, LARGEST_SIZE}, {"--entries", &limits->entries, LARGEST_SIZE},
    {"--depth", &depth, 4096}, {"--name-bytes", &name_bytes, 65535}};
  for (size_t i = 0; i < COUNT_OF(known); i++) {
    if (strcmp(name, known[i].name) != 0) continue;
    if (!number_parse(value, strlen(value), known[i].most, false, known[i].into) || *known[i].into == 0) return false;
    if (depth > 0) limits->depth = (size_t)depth;
    if (name_bytes > 0) limits->name_bytes = (size_t)name_bytes;
    return true;
  }
  return false;
}

static bool read_options(int argc, char **argv, struct unsquash_limits *limits) {
  for (int i = 1; i < argc; i += 2)
    if (i + 1 == argc || !option(limits, argv[i], argv[i + 1])) return false;
  return limits->bytes > 0 && limits->ratio > 0 && limits->entries > 0 && limits->depth > 0 && limits->name_bytes > 0;
}

static bool limit_self(struct failure *why) {
#if !defined(__SANITIZE_ADDRESS__) // it maps more than there is
  const struct rlimit memory = {MEMORY_MOST, MEMORY_MOST};
  if (setrlimit(RLIMIT_AS, &memory) != 0) return fail(why, ERROR_RESOURCE, "no limit of memory: %s", strerror(errno));
#endif
  const struct rlimit seconds = {SECONDS_MOST, SECONDS_MOST};
  return setrlimit(RLIMIT_CPU, &seconds) == 0 || fail(why, ERROR_RESOURCE, "no limit of time: %s", strerror(errno));
}

// What the system said of the last write that failed.
static int write_error;

static bool write_output(void *to, const void *at, size_t length) {
  (void)to;
  if (write_all(STDOUT_FILENO, at, length)) return true;
  write_error = errno;
  return false;
}

static bool convert(uint64_t size, const struct unsquash_limits *limits, uint64_t key, struct failure *why) {
  if (unsquash(STDIN_FILENO, size, limits, key, (struct writer_output){write_output, NULL}, why)) return true;
  if (write_error == 0) return false;
  return fail(why, write_error == ENOSPC || write_error == EDQUOT ? ERROR_STORAGE_FULL : ERROR_STATE_UNUSABLE, "the stream can't be written: %s",
    strerror(write_error));
}

int main(int argc, char **argv) {
  struct failure why = {0};
  struct unsquash_limits limits = {0};
  struct stat status;
  uint64_t key;
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return write_all(STDOUT_FILENO, help, sizeof help - 1) ? 0 : 1;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("shifter-unsquash " PROGRAM_VERSION) >= 0 ? 0 : 1;
  if (!read_options(argc, argv, &limits)) {
    fail(&why, ERROR_USAGE, "the options are not those of --help");
    return refuse(&why);
  }
  if (fstat(STDIN_FILENO, &status) != 0 || !S_ISREG(status.st_mode)) {
    fail(&why, ERROR_USAGE, "standard input is no regular file");
    return refuse(&why);
  }
  signal(SIGPIPE, SIG_IGN);
  if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key) {
    fail(&why, ERROR_RESOURCE, "no random numbers: %s", strerror(errno));
    return refuse(&why);
  }
  return limit_self(&why) && sandbox_enter(&why) && convert((uint64_t)status.st_size, &limits, key, &why) ? 0 : refuse(&why);
}
