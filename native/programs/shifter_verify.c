// shifter-verify: what a packed image holds, as one number to compare with that of the stream it was packed from (shifter-merge --sample),
// and the hash of the file, made beside it. It runs without any right, in a sandbox.
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
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
    "  done INODES DIGEST SHA256   (of what it holds; of the file)\n"
    "  fault CODE WHAT\n";

static int refuse(const struct failure *why) {
  AUTO_BUFFER line = {0};
  buffer_text(&line, "fault ");
  failure_report(why, &line);
  return write_all(STDOUT_FILENO, line.at, line.length) ? error_exit(why->code) : 1;
}

struct hashing {
  uint64_t size;
  bool hashed;
  unsigned char digest[EVP_MAX_MD_SIZE];
  struct failure why;
};

static bool hash_file(struct hashing *hashing) {
  static unsigned char piece[1 << 20];
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  if (context == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) memory_exhausted();
  uint64_t at = 0;
  while (at < hashing->size) {
    ssize_t n = pread(STDIN_FILENO, piece, sizeof piece, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (EVP_DigestUpdate(context, piece, (size_t)n) != 1) memory_exhausted();
    at += (uint64_t)n;
  }
  bool whole = at == hashing->size && EVP_DigestFinal_ex(context, hashing->digest, NULL) == 1;
  EVP_MD_CTX_free(context);
  return whole || fail(&hashing->why, ERROR_IMAGE_VERIFY_FAILED, "the file can't be read to its end: it has changed, or reading it failed");
}

// A thread has a sandbox of its own, since it must be made before the other is entered.
static void *hash_beside(void *argument) {
  struct hashing *hashing = argument;
  hashing->hashed = sandbox_enter(&hashing->why) && hash_file(hashing);
  return NULL;
}

static int verify(const struct sample *sample, struct hashing *hashing, pthread_t beside) {
  struct failure why = {0};
  CLEANUP(contents_close) struct contents *contents = contents_open(sample);
  uint64_t inodes;
  if (!image_read(STDIN_FILENO, hashing->size, contents, &inodes, &why)) return refuse(&why);
  if (pthread_join(beside, NULL) != 0 || !hashing->hashed) return refuse(&hashing->why);
  char digest[SHA256_HEX];
  contents_digest(contents, digest);
  AUTO_BUFFER line = {0};
  buffer_print(&line, "done %llu %s ", (unsigned long long)inodes, digest);
  for (size_t i = 0; i < 32; i++) buffer_print(&line, "%02x", hashing->digest[i]);
  buffer_byte(&line, '\n');
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
  static struct hashing hashing;
  pthread_t beside;
  hashing.size = (uint64_t)status.st_size;
  int error = pthread_create(&beside, NULL, hash_beside, &hashing);
  if (error != 0) fail(&why, ERROR_RESOURCE, "no thread: %s", strerror(error));
  if (error != 0 || !sandbox_enter(&why)) return refuse(&why);
  return verify(&sample, &hashing, beside);
}
