#include "tree/archive.h"

static bool content(struct tar_reader *reader, struct stream *stream, struct failure *why) {
  const unsigned char *at;
  uint64_t length;
  for (;;) {
    if (!tar_content(reader, &at, &length, why)) return false;
    if (length == 0) return stream_content_end(stream, why);
    if (!stream_content(stream, at, length, why)) return false;
  }
}

bool archive_read(struct tar_input input, const struct stream_limits *limits, struct stream *stream, struct failure *why) {
  CLEANUP(tar_close) struct tar_reader *reader = tar_open(input);
  CLEANUP(path_free) struct path path = {0}, target = {0};
  const struct path_limits names = {limits->depth, limits->name_bytes, limits->entries};
  const struct tar_entry *entry;
  enum tar_step step;
  while ((step = tar_next(reader, &entry, why)) == TAR_ENTRY) {
    if (!path_read(&path, entry->name, entry->name_length, &names, entry, "its name", why)) return false;
    if (entry->type == TAR_LINK && !path_read(&target, entry->link, entry->link_length, &names, entry, "its target", why)) return false;
    if (path.count == 0 && entry->type != TAR_DIRECTORY) return tar_fault(why, entry->name, entry->name_length, "is the root and no directory");
    if (entry->type == TAR_SYMLINK && entry->link_length == 0) return tar_fault(why, entry->name, entry->name_length, "is a symbolic link to nothing");
    switch (stream_entry(stream, &path, entry, &target, why)) {
      case STREAM_FAULT: return false;
      case STREAM_LEFT_OUT: continue;
      case STREAM_TAKEN:
        if (entry->type == TAR_REGULAR && !content(reader, stream, why)) return false;
    }
  }
  return step == TAR_END;
}
