// The normalised stream of a CHOS tree: a tar archive whose entries are root's and have no extended attributes, with what rules.h leaves of the
// tree. Its digest is the tree's identity. It does not care where entries come from: a directory (walk.h) or an archive (archive.h).
#pragma once
#include "merge/path.h"
#include "merge/writer.h"
#include "tree/report.h"

struct stream_limits {
  uint64_t bytes; // of the stream
  uint64_t entries;
  size_t depth, name_bytes;
};

struct stream;
// `key` makes names no help to who wants a table to be slow.
struct stream *stream_open(const struct stream_limits *limits, uint64_t key, struct writer_output output, struct report *report) MUST_USE;
void stream_close(struct stream **stream);

enum stream_step {
  STREAM_FAULT,
  STREAM_TAKEN,   // and what a directory holds is wanted; of a regular file its content comes next
  STREAM_LEFT_OUT // and what a directory holds with it
};
// `path` is clean; the entry's own name is not looked at. A hard link's target is `target`, as clean.
enum stream_step stream_entry(struct stream *stream, const struct path *path, const struct tar_entry *entry, const struct path *target, struct failure *why) MUST_USE;
// As much as the entry said; the end is by stream_content_end.
bool stream_content(struct stream *stream, const unsigned char *at, uint64_t length, struct failure *why) MUST_USE; // NULL: zeros
bool stream_content_end(struct stream *stream, struct failure *why) MUST_USE;
// What an entry is left out for that its name does not tell.
void stream_note(struct stream *stream, enum tree_note note, const struct path *path);
// Tells facts and links to nothing, and ends the archive and the report. FILE_INVALID: there is no /bin/sh in it.
bool stream_finish(struct stream *stream, struct failure *why) MUST_USE;
