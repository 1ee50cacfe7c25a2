// Reading tar: ustar, GNU long names and sparse files, pax. It holds one header at most, hands contents on as they lie, and trusts no field.
// https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13
// https://www.gnu.org/software/tar/manual/html_node/Standard.html
#pragma once
#include "policy/failure.h"

#define TAR_BLOCK 512

// Where an archive comes from. `more` gives the next piece, which stays until it is called again: no bytes at the end.
struct tar_input {
  bool (*more)(void *from, const unsigned char **at, size_t *length, struct failure *why);
  void *from;
};

enum tar_type { TAR_REGULAR, TAR_LINK, TAR_SYMLINK, TAR_CHARACTER, TAR_BLOCK_DEVICE, TAR_DIRECTORY, TAR_FIFO };
const char *tar_type_name(enum tar_type type);

struct tar_extent { // of a sparse file: bytes that are there
  uint64_t offset, length;
};

struct tar_attribute { // an extended attribute; both as in the archive
  const char *name, *value;
  size_t name_length, value_length;
};

struct tar_entry {
  const char *name, *link; // followed by NUL, and without one inside
  size_t name_length, link_length;
  enum tar_type type;
  uint32_t mode; // with setuid, setgid and sticky bits
  uint64_t size; // of the file as read; 0 for all but regular files
  int64_t mtime;
  const struct tar_attribute *attributes;
  size_t attribute_count;
};

struct tar_reader;
struct tar_reader *tar_open(struct tar_input input) MUST_USE;
void tar_close(struct tar_reader **reader);

enum tar_step { TAR_FAULT, TAR_ENTRY, TAR_END };
// The next entry; what is left of the one before is skipped. The entry lives until the next call.
enum tar_step tar_next(struct tar_reader *reader, const struct tar_entry **entry, struct failure *why) MUST_USE;

// The next piece of the entry's content: bytes, or a hole of zeros (`at` is NULL). No length at the end.
bool tar_content(struct tar_reader *reader, const unsigned char **at, uint64_t *length, struct failure *why) MUST_USE;

// "entry NAME: what", the name made visible and cut when it is long. Always false.
bool tar_fault(struct failure *why, const char *name, size_t length, const char *format, ...) PRINTF_LIKE(4, 5);
