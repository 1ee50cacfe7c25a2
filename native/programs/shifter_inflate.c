// shifter-inflate: a compressed archive on standard input becomes a plain one on standard output. Like shifter-merge it runs without any
// right, in a sandbox: what it reads is a stranger's.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "merge/blob.h"
#include "merge/sandbox.h"
#include "mechanism/open.h"

static const char help[] =
    "shifter-inflate BYTES RATIO <ARCHIVE >TAR\n"
    "\n"
    "Inflates a regular file of gzip or zstd, or copies a plain one: at most so many BYTES, and RATIO times its size.\n";

static int refuse(const struct failure *why) {
  AUTO_BUFFER line = {0};
  failure_report(why, &line);
  write_message(&line);
  return error_exit(why->code);
}

static bool inflate(const struct blob_limits *limits, uint64_t size, struct failure *why) {
  CLEANUP(blob_close) struct blob *blob = blob_open(STDIN_FILENO, 0, size, limits);
  struct tar_input input = blob_input(blob);
  for (;;) {
    const unsigned char *at;
    size_t length;
    if (!input.more(input.from, &at, &length, why)) return false;
    if (length == 0) return true;
    if (!write_all(STDOUT_FILENO, at, length))
      return fail(why, errno == ENOSPC || errno == EDQUOT ? ERROR_STORAGE_FULL : ERROR_STATE_UNUSABLE, "the inflated archive can't be written: %s",
        strerror(errno));
  }
}

int main(int argc, char **argv) {
  struct failure why = {0};
  struct blob_limits limits;
  struct stat status;
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return write_all(STDOUT_FILENO, help, sizeof help - 1) ? 0 : 1;
  if (argc != 3 || !number_parse(argv[1], strlen(argv[1]), LARGEST_SIZE, false, &limits.inflated) ||
      !number_parse(argv[2], strlen(argv[2]), LARGEST_SIZE, false, &limits.ratio) || limits.ratio == 0) {
    fail(&why, ERROR_USAGE, "shifter-inflate takes BYTES and RATIO");
    return refuse(&why);
  }
  if (fstat(STDIN_FILENO, &status) != 0 || !S_ISREG(status.st_mode)) {
    fail(&why, ERROR_USAGE, "standard input is no regular file");
    return refuse(&why);
  }
  blob_prepare();
  if (!sandbox_enter(&why) || !inflate(&limits, (uint64_t)status.st_size, &why)) return refuse(&why);
  return 0;
}
