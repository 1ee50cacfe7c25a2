// Bytes as a CHOS tree: a link by the rules, a library's notes and banner, and an archive. Whatever they are, reading ends in a reason or in a
// stream that the tar reader takes, without owners of its own, whose names are those that the rules keep and whose links do not lead into CHOS.
#include "fuzz/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include "merge/path.h"
#include "tree/archive.h"
#include "tree/elf.h"

enum { ENTRIES = 200, DEPTH = 20, NAME_BYTES = 300 };
static const struct stream_limits limits = {.bytes = 1 << 20, .entries = ENTRIES, .depth = DEPTH, .name_bytes = NAME_BYTES};
static const struct path_limits names = {.depth = DEPTH, .bytes = NAME_BYTES, .names = ENTRIES};

// The rule for a rewritten link, written a second time: absolute and clean, and no way of CHOS.
static void check_ruling(const char *path, const struct tree_ruling *ruling) {
  if (ruling->fate != TREE_LINK) {
    must(ruling->link.at == NULL);
    return;
  }
  must(fuzz_is_clean(ruling->link.at) || has_control(ruling->link.at, ruling->link.length));
  must(strcmp(ruling->link.at, "/chos") != 0 && strncmp(ruling->link.at, "/chos/", 6) != 0 && strncmp(ruling->link.at, "/proc/chos/link/", 16) != 0);
  must(strcmp(ruling->link.at + 1, path) != 0);
}

static void fuzz_rule(const char *text, size_t size) {
  const char *end = memchr(text, '\0', size);
  if (end == NULL || end == text || text[0] == '/') return;
  CLEANUP(path_free) struct path path = {0};
  struct failure why = {0};
  const struct tar_entry entry = {.name = text, .name_length = (size_t)(end - text)};
  if (!path_read(&path, text, entry.name_length, &names, &entry, "its name", &why)) return;
  AUTO_FREE char *target = memory_copy(end + 1, size - entry.name_length - 1);
  AUTO_RULING ruling;
  tree_rule(path.count == 0 ? "" : path.text.at, target, &ruling);
  check_ruling(path.text.at, &ruling);
}

static void check_entry(const struct tar_entry *entry, uint64_t number) {
  (void)number;
  CLEANUP(path_free) struct path path = {0};
  struct failure why = {0};
  must(path_read(&path, entry->name, entry->name_length, &names, entry, "its name", &why));
  must(entry->attribute_count == 0 && entry->type != TAR_CHARACTER && entry->type != TAR_BLOCK_DEVICE && entry->type != TAR_FIFO);
  AUTO_RULING ruling;
  tree_rule(path.count == 0 ? "" : path.text.at, entry->type == TAR_SYMLINK ? entry->link : NULL, &ruling);
  // What is in the stream stays in it when it is read once more.
  must(ruling.fate == TREE_KEEP || (ruling.fate == TREE_EMPTY && entry->type == TAR_DIRECTORY));
}

static void fuzz_archive(const char *bytes, size_t size) {
  static int sink = -1;
  if (sink < 0) sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
  AUTO_BUFFER archive = {0}, tar = {0};
  buffer_add(&archive, bytes, size);
  struct tar_whole whole = {&archive, false};
  struct failure why = {0};
  struct report report = {.fd = sink};
  CLEANUP(stream_close) struct stream *stream = stream_open(&limits, 7, (struct writer_output){fuzz_keep, &tar}, &report);
  bool read = archive_read((struct tar_input){tar_whole_give, &whole}, &limits, stream, &why) && stream_finish(stream, &why);
  must(tar.length <= limits.bytes);
  if (read) fuzz_entries(&tar, check_entry);
  else fuzz_refused(&why);
  report_free(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  AUTO_FREE char *bytes = fuzz_copy(data + 1, size - 1, false);
  struct elf_kernel kernel;
  struct elf_glibc version;
  switch (data[0] % 3) {
    case 0: fuzz_rule(bytes, size - 1); break;
    case 1:
      if (elf_oldest_kernel((const unsigned char *)bytes, size - 1, &kernel)) must(elf_kind((const unsigned char *)bytes, size - 1).machine != 0);
      if (elf_glibc((const unsigned char *)bytes, size - 1, &version)) must(version.major < 10000 && version.minor < 10000);
      break;
    default: fuzz_archive(bytes, size - 1);
  }
  return 0;
}
