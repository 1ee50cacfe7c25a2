// Bytes as a squashfs: whatever they are, reading them ends, within the limits, in a reason or in a stream that the tar reader takes, in which
// no name leaves the root and no file is linked that was not there before.
#include "fuzz/streams.h"

#include <sys/mman.h>
#include <unistd.h>

#include "merge/path.h"
#include "merge/unsquash.h"

static const struct unsquash_limits limits = {.bytes = 1 << 20, .ratio = 100, .entries = 200, .depth = 20, .name_bytes = 300};

static void check_entry(const struct tar_entry *entry, uint64_t number) {
  CLEANUP(path_free) struct path path = {0};
  struct failure why = {0};
  const struct path_limits names = {limits.depth, limits.name_bytes, limits.entries};
  must(number <= limits.entries);
  // A component of 256 bytes is the merger's to refuse.
  if (!path_read(&path, entry->name, entry->name_length, &names, entry, "its name", &why)) must(strstr(why.what, "255 bytes") != NULL);
  must(entry->name[0] != '/' && (number == 1) == (strcmp(entry->name, ".") == 0));
  if (entry->type == TAR_SYMLINK) must(entry->link_length > 0);
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
  bool whole = unsquash(fd, size, &limits, 7, (struct writer_output){fuzz_keep, &tar}, &why);
  must(tar.length <= limits.bytes);
  if (whole) fuzz_entries(&tar, check_entry);
  else fuzz_refused(&why);
  return 0;
}
