// shifter-open: copies a file that a user named, if it is his, and tells what it copied. The gateway has rights that the user has not, so what
// the name leads to is decided by descriptor: below a directory of the site, by no link of any kind, and owned by the user.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mechanism/open.h"

static const char help[] =
    "shifter-open --most BYTES --root DIRECTORY --owner UID -- PATH >COPY\n"
    "shifter-open --most BYTES <FILE >COPY\n"
    "\n"
    "Copies a regular file of at most so many bytes: one that UID owns, at PATH below DIRECTORY, where no symbolic link leads anywhere; or one\n"
    "that is open already. On standard error:\n"
    "  done BYTES SHA256\n"
    "  CODE WHAT\n";

struct request {
  const char *root, *path;
  uint64_t most, owner;
};

static int refuse(const struct failure *why) {
  AUTO_BUFFER line = {0};
  failure_report(why, &line);
  write_message(&line);
  return error_exit(why->code);
}

static bool read_options(int argc, char **argv, struct request *request) {
  bool most = false, owner = false;
  int i = 1;
  for (; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
    if (strcmp(argv[i], "--most") == 0) most = number_parse(argv[i + 1], strlen(argv[i + 1]), LARGEST_SIZE, false, &request->most);
    else if (strcmp(argv[i], "--owner") == 0) owner = number_parse(argv[i + 1], strlen(argv[i + 1]), LARGEST_ID, false, &request->owner);
    else if (strcmp(argv[i], "--root") == 0) request->root = argv[i + 1];
    else return false;
  }
  if (i + 2 == argc) request->path = argv[i + 1];
  else if (i != argc) return false;
  bool named = request->root != NULL, asked = owner && request->path != NULL;
  return most && (named ? request->root[0] == '/' && asked : !owner && request->path == NULL);
}

// One sentence for all that may be wrong: nobody learns what is there that is not his.
static int unavailable(const struct request *request, struct failure *why) {
  fail(why, ERROR_FILE_UNAVAILABLE, "there is no regular file of uid %llu at \"%s\" below %s", (unsigned long long)request->owner, request->path, request->root);
  return -1;
}

static bool is_his(const struct stat *status, const struct request *request) {
  return S_ISREG(status->st_mode) && status->st_uid == request->owner;
}

// A mount below the directory is a part of it: projects and home directories of a cluster are mounts. A user's own mounts in a name space of
// his are not seen here, and what a file system of his (FUSE) shows is his file or another's by the owner that it tells, like any.
static int open_named(const struct request *request, struct failure *why) {
  AUTO_FD root = open_resolved(AT_FDCWD, request->root, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  if (root < 0) {
    fail(why, ERROR_CONFIG_INVALID, "the directory %s, which files are imported from, can't be opened: %s", request->root, strerror(errno));
    return -1;
  }
  // Opening a device or a FIFO can do something, so it is looked at first.
  AUTO_FD place = open_resolved(root, request->path, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  struct stat before, status;
  if (place < 0 || fstat(place, &before) != 0 || !is_his(&before, request)) return unavailable(request, why);
  char again[40];
  snprintf(again, sizeof again, "/proc/self/fd/%d", place);
  AUTO_FD file = open(again, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (file < 0 || fstat(file, &status) != 0 || !is_his(&status, request) || status.st_dev != before.st_dev || status.st_ino != before.st_ino)
    return unavailable(request, why);
  return steal_fd(&file);
}

static bool is_unchanged(const struct stat *before, const struct stat *after) {
  return before->st_size == after->st_size && before->st_mtim.tv_sec == after->st_mtim.tv_sec && before->st_mtim.tv_nsec == after->st_mtim.tv_nsec &&
         before->st_ctim.tv_sec == after->st_ctim.tv_sec && before->st_ctim.tv_nsec == after->st_ctim.tv_nsec && before->st_uid == after->st_uid;
}

#define HOLE ((size_t)64 << 10)

static void cleanup_hash(EVP_MD_CTX **hash) {
  EVP_MD_CTX_free(*hash);
}

static bool is_zero(const unsigned char *at, size_t length) {
  return length == 0 || (at[0] == 0 && memcmp(at, at + 1, length - 1) == 0);
}

// Zeros are left out of a file, where they cost nothing then: most of a disk is empty.
static bool put(const unsigned char *at, size_t length, bool to_file) {
  for (size_t done = 0, part; done < length; done += part) {
    part = length - done < HOLE ? length - done : HOLE;
    if (to_file && is_zero(at + done, part) ? lseek(STDOUT_FILENO, (off_t)part, SEEK_CUR) < 0 : !write_all(STDOUT_FILENO, at + done, part)) return false;
  }
  return true;
}

// What is hashed is what is written, whatever happens to the file meanwhile.
static bool copy(int file, uint64_t size, unsigned char digest[static EVP_MAX_MD_SIZE], struct failure *why) {
  static unsigned char piece[1 << 20];
  CLEANUP(cleanup_hash) EVP_MD_CTX *hash = EVP_MD_CTX_new();
  off_t start = lseek(STDOUT_FILENO, 0, SEEK_CUR); // of a pipe: none
  if (hash == NULL || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1) memory_exhausted();
  for (uint64_t at = 0; at < size;) {
    ssize_t n = pread(file, piece, size - at < sizeof piece ? (size_t)(size - at) : sizeof piece, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(why, ERROR_FILE_UNAVAILABLE, "it can't be read: %s", strerror(errno));
    if (n == 0) return fail(why, ERROR_FILE_CHANGED, "it became shorter while it was read");
    if (EVP_DigestUpdate(hash, piece, (size_t)n) != 1) memory_exhausted();
    if (!put(piece, (size_t)n, start >= 0))
      return fail(why, errno == ENOSPC || errno == EDQUOT ? ERROR_STORAGE_FULL : ERROR_STATE_UNUSABLE, "the copy can't be written: %s", strerror(errno));
    at += (uint64_t)n;
  }
  if (start >= 0 && ftruncate(STDOUT_FILENO, start + (off_t)size) != 0) return fail(why, ERROR_STATE_UNUSABLE, "the copy can't be ended: %s", strerror(errno));
  if (EVP_DigestFinal_ex(hash, digest, NULL) != 1) memory_exhausted();
  return true;
}

static bool take(int file, const struct request *request, struct failure *why) {
  struct stat before, after;
  unsigned char digest[EVP_MAX_MD_SIZE];
  if (fstat(file, &before) != 0 || !S_ISREG(before.st_mode)) return fail(why, ERROR_FILE_UNAVAILABLE, "it is no regular file");
  uint64_t size = (uint64_t)before.st_size;
  if (size > request->most) return fail(why, ERROR_LIMIT_EXCEEDED, "it has %llu bytes, more than %llu", (unsigned long long)size, (unsigned long long)request->most);
  if (!copy(file, size, digest, why)) return false;
  if (fstat(file, &after) != 0 || !is_unchanged(&before, &after)) return fail(why, ERROR_FILE_CHANGED, "it was changed while it was read");
  AUTO_BUFFER line = {0};
  buffer_print(&line, "done %llu ", (unsigned long long)size);
  for (size_t i = 0; i < 32; i++) buffer_print(&line, "%02x", digest[i]);
  buffer_byte(&line, '\n');
  write_message(&line);
  return true;
}

int main(int argc, char **argv) {
  struct failure why = {0};
  struct request request = {0};
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return write_all(STDOUT_FILENO, help, sizeof help - 1) ? 0 : 1;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("shifter-open " PROGRAM_VERSION) >= 0 ? 0 : 1;
  if (!read_options(argc, argv, &request)) {
    fail(&why, ERROR_USAGE, "the options are not those of --help");
    return refuse(&why);
  }
  AUTO_FD file = request.root == NULL ? dup(STDIN_FILENO) : open_named(&request, &why);
  if (file < 0 && request.root == NULL) fail(&why, ERROR_FILE_UNAVAILABLE, "standard input is not open");
  return file >= 0 && take(file, &request, &why) ? 0 : refuse(&why);
}
