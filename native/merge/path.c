#include "merge/path.h"

#include <stdlib.h>
#include <string.h>

void path_free(struct path *path) {
  buffer_free(&path->text);
  free(path->ends);
  *path = (struct path){0};
}

void path_cut(struct path *path, size_t count) {
  path->count = count;
  path->text.length = count == 0 ? 0 : path->ends[count - 1];
  if (path->text.at != NULL) path->text.at[path->text.length] = '\0';
}

void path_add(struct path *path, const char *component, size_t length) {
  if (path->count == path->room) {
    path->room = path->room == 0 ? 32 : path->room * 2;
    path->ends = memory_resize(path->ends, path->room, sizeof *path->ends);
  }
  if (path->count > 0) buffer_byte(&path->text, '/');
  buffer_add(&path->text, component, length);
  path->ends[path->count++] = path->text.length;
}

void path_set(struct path *path, const char *clean, size_t length) {
  path_cut(path, 0);
  for (const char *at = clean, *end = clean + length; at < end;) {
    const char *slash = memchr(at, '/', (size_t)(end - at));
    if (slash == NULL) slash = end;
    path_add(path, at, (size_t)(slash - at));
    at = slash + 1;
  }
}

bool path_read(struct path *path, const char *name, size_t length, const struct path_limits *limits, const struct tar_entry *entry,
  const char *what, struct failure *why) {
  const char *e = entry->name;
  size_t n = entry->name_length;
  path_cut(path, 0);
  if (length > limits->bytes) {
    tar_fault(why, e, n, "%s is longer than %zu bytes", what, limits->bytes);
    why->code = ERROR_LIMIT_EXCEEDED;
    return false;
  }
  for (const char *at = name, *end = name + length; at < end;) {
    const char *slash = memchr(at, '/', (size_t)(end - at));
    size_t size = (size_t)((slash == NULL ? end : slash) - at);
    if (size == 2 && at[0] == '.' && at[1] == '.') return tar_fault(why, e, n, "%s has a '..'", what);
    if (size > 255) return tar_fault(why, e, n, "%s has a component longer than 255 bytes", what);
    if (size > 0 && !(size == 1 && at[0] == '.')) path_add(path, at, size);
    at += size + 1;
  }
  if (path->count > 0 && name[0] == '/') return tar_fault(why, e, n, "%s is absolute", what);
  if (path->count > limits->depth) {
    tar_fault(why, e, n, "%s has more than %zu components", what, limits->depth);
    why->code = ERROR_LIMIT_EXCEEDED;
    return false;
  }
  return true;
}

bool too_many_names(struct failure *why, const struct tar_entry *entry, const struct path_limits *limits) {
  tar_fault(why, entry->name, entry->name_length, "with it the image has more than %llu names", (unsigned long long)limits->names);
  why->code = ERROR_LIMIT_EXCEEDED;
  return false;
}

bool path_whiteout(const struct path *path, enum whiteout *whiteout, struct failure *why) {
  static const char metadata[] = ".wh..wh.", opaque[] = ".wh..wh..opq";
  *whiteout = WHITEOUT_NONE;
  for (size_t i = 0; i < path->count; i++) {
    size_t length;
    const char *part = path_component(path, i, &length);
    if (part[0] != '.' || length < WHITEOUT_PREFIX_LENGTH || memcmp(part, WHITEOUT_PREFIX, WHITEOUT_PREFIX_LENGTH) != 0) continue;
    bool last = i == path->count - 1;
    if (last && length == sizeof opaque - 1 && memcmp(part, opaque, length) == 0) {
      *whiteout = WHITEOUT_OPAQUE;
      return true;
    }
    // AUFS keeps its hard-link bookkeeping in directories of its own.
    if (length >= sizeof metadata - 1 && memcmp(part, metadata, sizeof metadata - 1) == 0) {
      *whiteout = WHITEOUT_METADATA;
      return true;
    }
    if (!last) return tar_fault(why, path->text.at, path->text.length, "a whiteout stands as a directory in its name");
    const char *target = part + WHITEOUT_PREFIX_LENGTH;
    size_t rest = length - WHITEOUT_PREFIX_LENGTH;
    if (rest == 0 || (rest == 1 && target[0] == '.') || (rest == 2 && target[0] == '.' && target[1] == '.'))
      return tar_fault(why, path->text.at, path->text.length, "this whiteout names nothing that can be removed");
    *whiteout = WHITEOUT_FILE;
  }
  return true;
}
