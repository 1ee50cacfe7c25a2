#include "policy/volume_map.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "policy/path.h"

static const struct {
  const char *name;
  unsigned flag;
} flag_names[] = {{"ro", VOLUME_READ_ONLY}, {"rec", VOLUME_RECURSIVE}, {"slave", VOLUME_SLAVE}, {"private", VOLUME_PRIVATE}};

// Places that the runtime itself fills, or that would hide them.
static const char *const forbidden_targets[] = {"/", "/etc", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/opt", "/var"};

static bool add_flag(struct volume *volume, const char *at, size_t length, struct buffer *what) {
  static const char cache[] = "perNodeCache";
  if (length >= sizeof cache - 1 && strncasecmp(at, cache, sizeof cache - 1) == 0) {
    buffer_text(what, "perNodeCache is not offered by this version");
    return false;
  }
  for (size_t i = 0; i < COUNT_OF(flag_names); i++) {
    if (strlen(flag_names[i].name) != length || strncasecmp(at, flag_names[i].name, length) != 0) continue;
    if ((volume->flags & flag_names[i].flag) != 0) {
      buffer_print(what, "flag %s is there twice", flag_names[i].name);
      return false;
    }
    volume->flags |= flag_names[i].flag;
    return true;
  }
  buffer_print(what, "'%.*s' is no flag", (int)length, at);
  return false;
}

static bool take_path(char **out, const char *at, size_t length, struct buffer *what) {
  if (!path_is_plain(at, length)) {
    buffer_print(what, "'%.*s' is not an absolute path without '..'", (int)length, at);
    return false;
  }
  *out = path_clean(at, length);
  return true;
}

static bool target_is_allowed(const char *path, struct buffer *what) {
  for (size_t i = 0; i < COUNT_OF(forbidden_targets); i++) {
    if (strcmp(path, forbidden_targets[i]) != 0) continue;
    buffer_print(what, "%s can't be a target", path);
    return false;
  }
  return true;
}

// The parts of an element, separated by ':'.
static bool take_parts(struct volume *volume, const char *at, size_t length, struct buffer *what) {
  size_t part = 0;
  for (size_t start = 0; start <= length; part++) {
    size_t end = start;
    while (end < length && at[end] != ':') end++;
    const char *text = at + start;
    size_t size = end - start;
    start = end + 1;
    bool taken = true;
    if (part == 0)
      taken = take_path(&volume->from, text, size, what);
    else if (size == 0)
      taken = part > 1 || end == length; // "from:" and "from:to:" end so; "from::ro" is a mistake
    else if (part == 1)
      taken = take_path(&volume->to, text, size, what);
    else
      taken = add_flag(volume, text, size, what);
    if (!taken) {
      if (what->length == 0) buffer_text(what, "the target is empty");
      return false;
    }
  }
  return true;
}

static bool take_element(struct volume *volume, const char *at, size_t length, struct buffer *what) {
  if (!take_parts(volume, at, length, what)) return false;
  if (volume->to == NULL) volume->to = memory_copy(volume->from, strlen(volume->from));
  if ((volume->flags & (VOLUME_SLAVE | VOLUME_PRIVATE)) == (VOLUME_SLAVE | VOLUME_PRIVATE)) {
    buffer_text(what, "slave and private exclude each other");
    return false;
  }
  return target_is_allowed(volume->to, what);
}

static void add(struct volume_map *map, struct volume volume) {
  if (map->count == map->room) {
    map->room = map->room == 0 ? 8 : map->room * 2;
    map->items = memory_resize(map->items, map->room, sizeof *map->items);
  }
  map->items[map->count++] = volume;
}

bool volume_map_add_site(struct volume_map *map, const char *text, struct buffer *what) {
  while (*text != '\0') {
    if (*text == ';') {
      text++;
      continue;
    }
    // An element may be wrapped in double quotes, which must close before the next ';'.
    bool wrapped = *text == '"';
    const char *start = wrapped ? text + 1 : text;
    size_t length = strcspn(start, wrapped ? "\"" : ";");
    if (wrapped && (start[length] != '"' || (start[length + 1] != '\0' && start[length + 1] != ';'))) {
      buffer_text(what, "a quote is not closed at the end of its element");
      return false;
    }
    text = start + length + (wrapped ? 1 : 0);
    struct volume volume = {0};
    if (!take_element(&volume, start, length, what)) {
      free(volume.from);
      free(volume.to);
      return false;
    }
    add(map, volume);
  }
  return true;
}

void volume_text(const struct volume *volume, struct buffer *out) {
  buffer_print(out, "%s:%s", volume->from, volume->to);
  for (size_t i = 0; i < COUNT_OF(flag_names); i++)
    if ((volume->flags & flag_names[i].flag) != 0) buffer_print(out, ":%s", flag_names[i].name);
}

static int compare_texts(const void *one, const void *other) {
  return strcmp(*(char *const *)one, *(char *const *)other);
}

void volume_map_signature(const struct volume_map *map, struct buffer *out) {
  AUTO_WORDS texts = {0};
  for (size_t i = 0; i < map->count; i++) {
    AUTO_BUFFER text = {0};
    volume_text(&map->items[i], &text);
    words_add(&texts, text.at, text.length);
  }
  if (texts.count > 0) qsort(texts.items, texts.count, sizeof *texts.items, compare_texts);
  for (size_t i = 0; i < texts.count; i++) buffer_print(out, "%s%s", i == 0 ? "" : ";", texts.items[i]);
}

bool volume_map_covers(const struct volume_map *map, const char *path) {
  for (size_t i = 0; i < map->count; i++)
    if (path_is_within(path, map->items[i].to)) return true;
  return false;
}

void volume_map_free(struct volume_map *map) {
  for (size_t i = 0; i < map->count; i++) {
    free(map->items[i].from);
    free(map->items[i].to);
  }
  free(map->items);
  *map = (struct volume_map){0};
}
