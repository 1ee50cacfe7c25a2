#include "policy/path.h"

#include <string.h>

bool path_is_absolute(const char *path, size_t length) {
  return length > 0 && path[0] == '/';
}

bool path_has_parent(const char *path, size_t length) {
  for (size_t start = 0; start <= length;) {
    size_t end = start;
    while (end < length && path[end] != '/') end++;
    if (end - start == 2 && path[start] == '.' && path[start + 1] == '.') return true;
    start = end + 1;
  }
  return false;
}

char *path_clean(const char *path, size_t length) {
  char *clean = memory_get(length + 2, 1);
  size_t used = 0;
  for (size_t start = 0; start < length;) {
    size_t end = start;
    while (end < length && path[end] != '/') end++;
    size_t size = end - start;
    if (size > 0 && !(size == 1 && path[start] == '.')) {
      clean[used++] = '/';
      memcpy(clean + used, path + start, size);
      used += size;
    }
    start = end + 1;
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
