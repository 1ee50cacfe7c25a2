// shifter-verify: what a packed image holds, as one number to compare with that of the stream it was packed from (shifter-merge --sample).
// It runs without any right, in a sandbox.
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "merge/blob.h"
#include "merge/image_reader.h"
#include "merge/sandbox.h"

static const char help[] =
    "shifter-verify --sample EVERY:KEY <IMAGE\n"
    "\n"
    "Reads a squashfs: all of its structure, and one piece of content in EVERY (1: all, 0: none) by KEY, 16 hex digits. On standard output:\n"
    "  done INODES DIGEST\n"
    "  fault CODE WHAT\n";

static int refuse(const struct failure *why) {
  AUTO_BUFFER line = {0};
  buffer_print(&line, "fault %s ", error_name(why->code));
  buffer_visible(&line, why->what);
  buffer_byte(&line, '\n');
  return write_all(STDOUT_FILENO, line.at, line.length) ? error_exit(why->code) : 1;
}

static int verify(const struct sample *sample, uint64_t size) {
  struct failure why = {0};
  CLEANUP(contents_close) struct contents *contents = contents_open(sample);
  uint64_t inodes;
  if (!image_read(STDIN_FILENO, size, contents, &inodes, &why)) return refuse(&why);
  char digest[SHA256_HEX];
  contents_digest(contents, digest);
  AUTO_BUFFER line = {0};
  buffer_print(&line, "done %llu %s\n", (unsigned long long)inodes, digest);
  return write_all(STDOUT_FILENO, line.at, line.length) ? 0 : 1;
}

int main(int argc, char **argv) {
  struct failure why = {0};
  struct sample sample;
  struct stat status;
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return write_all(STDOUT_FILENO, help, sizeof help - 1) ? 0 : 1;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("shifter-verify " PROGRAM_VERSION) >= 0 ? 0 : 1;
  if (argc != 3 || strcmp(argv[1], "--sample") != 0 || !sample_parse(&sample, argv[2])) {
    fail(&why, ERROR_USAGE, "shifter-verify takes --sample EVERY:KEY");
    return refuse(&why);
  }
  if (fstat(STDIN_FILENO, &status) != 0 || !S_ISREG(status.st_mode)) {
    fail(&why, ERROR_USAGE, "standard input is no regular file");
    return refuse(&why);
  }
  blob_prepare();
  if (!sandbox_enter(&why)) return refuse(&why);
  return verify(&sample, (uint64_t)status.st_size);
}
