#include "tree/stream.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tree/elf.h"
#include "tree/names.h"

#define LIBRARY_MOST ((size_t)16 << 20)
#define LIBRARIES 8
#define TOLD_EVERY ((uint64_t)64 << 20)

struct library {
  struct elf_kind kind;
  struct elf_glibc version;
  struct elf_kernel kernel;
  bool has_version, has_kernel;
};

struct stream {
  struct stream_limits limits;
  struct writer *writer;
  struct writer_output output;
  struct report *report;
  EVP_MD_CTX *hash;
  uint64_t written, told, entries;
  bool ended; // the output took no more
  int64_t newest;
  struct names names;
  struct name *current;  // the file whose content comes
  struct buffer content; // of a C library
  bool is_library;
  struct library libraries[LIBRARIES];
  size_t library_count;
};

static bool write_hashed(void *to, const void *at, size_t length) {
  struct stream *stream = to;
  stream->written += length;
  if (stream->written > stream->limits.bytes) return false;
  if (EVP_DigestUpdate(stream->hash, at, length) != 1) memory_exhausted();
  if (stream->written - stream->told >= TOLD_EVERY) report_progress(stream->report, stream->told = stream->written);
  stream->ended = !stream->output.write(stream->output.to, at, length);
  return !stream->ended;
}

struct stream *stream_open(const struct stream_limits *limits, uint64_t key, struct writer_output output, struct report *report) {
  struct stream *stream = memory_get(1, sizeof *stream);
  stream->limits = *limits;
  stream->output = output;
  stream->report = report;
  stream->hash = EVP_MD_CTX_new();
  if (stream->hash == NULL || EVP_DigestInit_ex(stream->hash, EVP_sha256(), NULL) != 1) memory_exhausted();
  names_open(&stream->names, key);
  stream->writer = writer_open((struct writer_output){write_hashed, stream});
  return stream;
}

void stream_close(struct stream **at) {
  struct stream *stream = *at;
  if (stream == NULL) return;
  writer_close(&stream->writer);
  EVP_MD_CTX_free(stream->hash);
  names_close(&stream->names);
  buffer_free(&stream->content);
  free(stream);
  *at = NULL;
}

static bool stopped(const struct stream *stream, struct failure *why) {
  if (stream->ended) return fail(why, ERROR_STATE_UNUSABLE, "the stream can't be written");
  return fail(why, ERROR_LIMIT_EXCEEDED, "the tree holds more than %llu bytes", (unsigned long long)stream->limits.bytes);
}

static const char *text_of(const struct path *path) {
  return path->count == 0 ? "" : path->text.at;
}

void stream_note(struct stream *stream, enum tree_note note, const struct path *path) {
  names_make(&stream->names, path)->note = (uint8_t)note;
  report_note(stream->report, note, path->count == 0 ? "." : text_of(path), NULL);
}

// --- entries ---------------------------------------------------------------------------------------------------------------------

static bool put(struct stream *stream, const struct path *path, const struct tar_entry *entry, struct failure *why) {
  struct tar_entry header = {.name = ".", .name_length = 1, .type = entry->type, .mode = entry->mode, .size = entry->size, .mtime = entry->mtime,
    .link = entry->link, .link_length = entry->link_length};
  if (path->count > 0) header.name = path->text.at, header.name_length = path->text.length;
  return writer_header(stream->writer, &header) || stopped(stream, why);
}

// A directory that is emptied has no time of its own: whatever came and went in it changed it.
static enum stream_step put_empty(struct stream *stream, const struct path *path, uint32_t mode, struct failure *why) {
  const struct tar_entry directory = {.type = TAR_DIRECTORY, .mode = mode};
  struct name *name = names_make(&stream->names, path);
  name->written = name->is_directory = true;
  name->target = NULL;
  return put(stream, path, &directory, why) ? STREAM_LEFT_OUT : STREAM_FAULT;
}

static enum stream_step put_link(struct stream *stream, const struct path *path, const struct tar_entry *entry, const char *target, size_t length, struct failure *why) {
  struct name *name = names_make(&stream->names, path);
  struct tar_entry link = *entry;
  link.link = target;
  link.link_length = length;
  name->written = true;
  name->is_directory = false;
  names_lead(&stream->names, name, target, length);
  return put(stream, path, &link, why) ? STREAM_TAKEN : STREAM_FAULT;
}

static enum stream_step leave_out(struct stream *stream, const struct path *path, enum tree_note note, const char *target) {
  names_make(&stream->names, path)->note = (uint8_t)note;
  report_note(stream->report, note, text_of(path), target);
  return STREAM_LEFT_OUT;
}

// Another name of a file goes the way of the first, whose content is the only one that there is. One of a symbolic link is a link of its own: where
// it is, it may lead elsewhere.
static enum stream_step put_again(struct stream *stream, const struct path *path, const struct tar_entry *entry, const struct path *target, struct failure *why) {
  const struct name *first = names_find(&stream->names, target);
  if (first != NULL && first->came != NULL) {
    struct tar_entry link = *entry;
    link.type = TAR_SYMLINK;
    link.link = first->came;
    link.link_length = strlen(first->came);
    return stream_entry(stream, path, &link, NULL, why);
  }
  if (first != NULL && first->is_directory) return tar_fault(why, text_of(path), path->text.length, "is a hard link to a directory"), STREAM_FAULT;
  if (first == NULL || (!first->written && first->note == NOTE_NONE)) return tar_fault(why, text_of(path), path->text.length, "is a hard link to nothing before it"), STREAM_FAULT;
  bool by_name = first->note == NOTE_PSEUDO || first->note == NOTE_RESERVED;
  if (!first->written) return leave_out(stream, path, by_name ? NOTE_LINKED : (enum tree_note)first->note, by_name ? text_of(target) : NULL);
  struct name *name = names_make(&stream->names, path);
  name->kind = first->kind;
  name->written = true;
  name->is_directory = false;
  name->target = name->came = NULL;
  struct tar_entry link = *entry;
  link.link = text_of(target);
  link.link_length = target->text.length;
  return put(stream, path, &link, why) ? STREAM_TAKEN : STREAM_FAULT;
}

// Whether a name is that of a GNU C library: libc.so.6, libc-2.5.so.
static bool is_library(const struct path *path) {
  if (path->count == 0) return false;
  size_t length;
  const char *name = path_component(path, path->count - 1, &length);
  return text_is(name, length, "libc.so.6") || (length > 8 && memcmp(name, "libc-2.", 7) == 0 && memcmp(name + length - 3, ".so", 3) == 0);
}

static enum stream_step put_kept(struct stream *stream, const struct path *path, const struct tar_entry *entry, struct failure *why) {
  if (entry->type == TAR_SYMLINK) return put_link(stream, path, entry, entry->link, entry->link_length, why);
  if (entry->size > stream->limits.bytes) {
    tar_fault(why, text_of(path), path->text.length, "alone has more than %llu bytes", (unsigned long long)stream->limits.bytes);
    why->code = ERROR_LIMIT_EXCEEDED;
    return STREAM_FAULT;
  }
  struct name *name = names_make(&stream->names, path);
  name->written = true;
  name->is_directory = entry->type == TAR_DIRECTORY;
  name->target = NULL;
  name->kind = (struct elf_kind){0};
  if (entry->mtime > stream->newest && entry->type == TAR_REGULAR) stream->newest = entry->mtime;
  stream->current = name;
  stream->content.length = 0;
  stream->is_library = entry->type == TAR_REGULAR && entry->size <= LIBRARY_MOST && is_library(path);
  return put(stream, path, entry, why) ? STREAM_TAKEN : STREAM_FAULT;
}

static bool is_within(const struct stream *stream, const struct path *path, struct failure *why) {
  const struct tar_entry named = {.name = text_of(path), .name_length = path->text.length};
  const struct path_limits limits = {.depth = stream->limits.depth, .bytes = stream->limits.name_bytes, .names = stream->limits.entries};
  if (stream->entries > limits.names || stream->names.tree.count > limits.names) return too_many_names(why, &named, &limits);
  if (path->count <= limits.depth && path->text.length <= limits.bytes) return true;
  tar_fault(why, named.name, named.name_length, "its name has more than %zu components or %zu bytes", limits.depth, limits.bytes);
  why->code = ERROR_LIMIT_EXCEEDED;
  return false;
}

enum stream_step stream_entry(struct stream *stream, const struct path *path, const struct tar_entry *entry, const struct path *target, struct failure *why) {
  stream->entries++;
  stream->current = NULL;
  if (!is_within(stream, path, why)) return STREAM_FAULT;
  const char *link = entry->type == TAR_SYMLINK ? entry->link : NULL;
  if (entry->type != TAR_LINK) names_make(&stream->names, path)->came = link == NULL ? NULL : arena_copy(&stream->names.arena, link, entry->link_length);
  AUTO_RULING ruling;
  tree_rule(text_of(path), link, &ruling);
  bool is_directory = entry->type == TAR_DIRECTORY;
  if (ruling.fate == TREE_EMPTY && is_directory) {
    report_note(stream->report, ruling.note, text_of(path), NULL);
    return put_empty(stream, path, entry->mode, why);
  }
  switch (ruling.fate) {
    case TREE_DROP:
    case TREE_EMPTY: return leave_out(stream, path, ruling.note, link);
    case TREE_DIRECTORY:
      report_note(stream->report, ruling.note, text_of(path), link);
      return put_empty(stream, path, ruling.mode, why);
    case TREE_LINK:
      report_note(stream->report, ruling.note, text_of(path), link);
      return put_link(stream, path, entry, ruling.link.at, ruling.link.length, why);
    case TREE_KEEP: break;
  }
  if (entry->type == TAR_LINK) return put_again(stream, path, entry, target, why);
  bool is_special = entry->type == TAR_CHARACTER || entry->type == TAR_BLOCK_DEVICE || entry->type == TAR_FIFO;
  return is_special ? leave_out(stream, path, NOTE_SPECIAL, NULL) : put_kept(stream, path, entry, why);
}

// --- contents --------------------------------------------------------------------------------------------------------------------

bool stream_content(struct stream *stream, const unsigned char *at, uint64_t length, struct failure *why) {
  // A header of a program is short, and its first piece is long enough in a file that is one.
  if (at != NULL && stream->current != NULL && stream->content.length < 64) {
    size_t room = 64 - stream->content.length;
    if (!stream->is_library) buffer_add(&stream->content, at, length < room ? (size_t)length : room);
  }
  if (stream->is_library && at != NULL) buffer_add(&stream->content, at, (size_t)length);
  if (stream->is_library && at == NULL) stream->is_library = false; // one with holes is none that was built
  return writer_content(stream->writer, at, length) || stopped(stream, why);
}

static void know_library(struct stream *stream, struct elf_kind kind) {
  if (stream->library_count == LIBRARIES) return;
  const unsigned char *at = (const unsigned char *)stream->content.at;
  struct library *library = &stream->libraries[stream->library_count++];
  *library = (struct library){.kind = kind};
  library->has_version = elf_glibc(at, stream->content.length, &library->version);
  library->has_kernel = elf_oldest_kernel(at, stream->content.length, &library->kernel);
}

bool stream_content_end(struct stream *stream, struct failure *why) {
  if (stream->current != NULL && stream->content.length > 0) {
    stream->current->kind = elf_kind((const unsigned char *)stream->content.at, stream->content.length);
    if (stream->is_library && stream->current->kind.machine != 0) know_library(stream, stream->current->kind);
  }
  return writer_content_end(stream->writer) || stopped(stream, why);
}

// --- the end ---------------------------------------------------------------------------------------------------------------------

static void tell_facts(struct stream *stream, struct elf_kind kind) {
  const char *architecture = elf_architecture(kind);
  report_fact(stream->report, "architecture", "%s", architecture == NULL ? "unknown" : architecture);
  report_fact(stream->report, "newest", "%lld", (long long)stream->newest);
  for (size_t i = 0; i < stream->library_count; i++) {
    const struct library *library = &stream->libraries[i];
    if (!elf_same(library->kind, kind)) continue;
    if (library->has_version) report_fact(stream->report, "glibc", "%u.%u", library->version.major, library->version.minor);
    if (library->has_kernel) report_fact(stream->report, "kernel", "%u.%u.%u", library->kernel.major, library->kernel.minor, library->kernel.patch);
    break;
  }
}

bool stream_finish(struct stream *stream, struct failure *why) {
  const struct name *shell = names_follow(&stream->names, "/bin/sh");
  if (shell == NULL || shell->kind.machine == 0) return fail(why, ERROR_TREE_INVALID, "it has no /bin/sh that is a program: it is no system");
  names_tell_dangling(&stream->names, stream->report);
  tell_facts(stream, shell->kind);
  report_counts(stream->report);
  if (!writer_end(stream->writer)) return stopped(stream, why);
  unsigned char digest[EVP_MAX_MD_SIZE];
  if (EVP_DigestFinal_ex(stream->hash, digest, NULL) != 1) memory_exhausted();
  report_done(stream->report, stream->written, stream->entries, digest);
  return true;
}
