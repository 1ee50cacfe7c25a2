// Bytes as a squashfs: whatever they are, reading them ends, within the limits, in a reason or in a stream that the tar reader takes, in which
// no name leaves the root and no file is linked that was not there before.
#include "fuzz/fuzzing.h"

#include <sys/mman.h>
#include <unistd.h>

#include "merge/path.h"
#include "merge/unsquash.h"
#include "tests/making.h"

static const struct unsquash_limits limits = {.bytes = 1 << 20, .ratio = 100, .entries = 200, .depth = 20, .name_bytes = 300};

static bool keep(void *to, const void *at, size_t length) {
  buffer_add(to, at, length);
  return true;
}

static void check_stream(const struct buffer *tar) {
  struct tar_whole whole = {tar, false};
  struct failure why = {0};
  CLEANUP(tar_close) struct tar_reader *reader = tar_open((struct tar_input){tar_whole_give, &whole});
  CLEANUP(path_free) struct path path = {0};
  AUTO_WORDS files = {0};
  const struct path_limits names = {limits.depth, limits.name_bytes, limits.entries};
  const struct tar_entry *entry;
  enum tar_step step;
  uint64_t count = 0;
  while ((step = tar_next(reader, &entry, &why)) == TAR_ENTRY) {
    must(++count <= limits.entries);
    // A component of 256 bytes is the merger's to refuse.
    if (!path_read(&path, entry->name, entry->name_length, &names, entry, "its name", &why)) must(strstr(why.what, "255 bytes") != NULL);
    must(entry->name[0] != '/' && (count == 1) == (strcmp(entry->name, ".") == 0));
    if (entry->type == TAR_LINK) must(words_hold(&files, entry->link));
    if (entry->type == TAR_REGULAR) words_add(&files, entry->name, entry->name_length);
    if (entry->type == TAR_SYMLINK) must(entry->link_length > 0);
  }
  if (step != TAR_END) fprintf(stderr, "%s\n", why.what);
  must(step == TAR_END);
}

// The library takes as much memory as an image asks for, before it looks whether the image has it. The program has a limit, as here.
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
  return "allocator_may_return_null=1:max_allocation_size_mb=1024";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static int fd = -1;
  if (fd < 0) fd = memfd_create("image", MFD_CLOEXEC);
  if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
  AUTO_BUFFER tar = {0};
  struct failure why = {0};
  bool whole = unsquash(fd, size, &limits, 7, (struct writer_output){keep, &tar}, &why);
  must(tar.length <= limits.bytes);
  if (whole) check_stream(&tar);
  else fuzz_refused(&why);
  return 0;
}
