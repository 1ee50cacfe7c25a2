#include "policy/path.h"

#include <string.h>

bool path_is_absolute(const char *path, size_t length) {
  return length > 0 && path[0] == '/';
}

bool path_has_parent(const char *path, size_t length) {
  for (struct part part = parts_of(path, length); part_next(&part, '/');)
    if (text_is(part.at, part.length, "..")) return true;
  return false;
}

char *path_clean(const char *path, size_t length) {
  char *clean = memory_get(length + 2, 1);
  size_t used = 0;
  for (struct part part = parts_of(path, length); part_next(&part, '/');) {
    if (part.length == 0 || text_is(part.at, part.length, ".")) continue;
    clean[used++] = '/';
    memcpy(clean + used, part.at, part.length);
    used += part.length;
  }
  if (used == 0) clean[used] = '/';
  return clean;
}

bool path_is_within(const char *path, const char *above) {
  size_t length = strlen(above);
  if (length == 1) return true; // "/"
  return strncmp(path, above, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

bool path_is_plain(const char *path, size_t length) {
  return path_is_absolute(path, length) && !path_has_parent(path, length) && !has_control(path, length);
}

const char *path_component(const char *path, size_t *length) {
  path += strspn(path, "/");
  *length = strcspn(path, "/");
  return *length == 0 ? NULL : path;
}
