#include "policy/volume_map.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "limits.gen.h"
#include "policy/path.h"

static const struct {
  const char *name;
  unsigned flag;
} flag_names[] = {{"ro", VOLUME_READ_ONLY}, {"rec", VOLUME_RECURSIVE}, {"slave", VOLUME_SLAVE}, {"private", VOLUME_PRIVATE}};

// Places that the runtime itself fills, or that would hide them.
static const char *const site_targets_refused[] = {"/", "/etc", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/opt", "/var"};
const char *const volume_kept_places[] = {"/etc", "/proc", "/sys", "/dev", "/var", "/opt/udiImage", NULL};

static bool is_word(const char *at, size_t length, const char *word) {
  return strlen(word) == length && strncasecmp(at, word, length) == 0;
}

static bool refuse_flag(const char *at, size_t length, const char *what, struct buffer *out) {
  buffer_print(out, "'%.*s' %s", (int)length, at, what);
  return false;
}

// KEY=VALUE of a per-node cache. A value that is left out or can't be read refuses the volume, as does a key that is not known.
static bool take_cache_key(struct volume *volume, const char *at, size_t length, struct buffer *what) {
  size_t name = length, size = 0;
  const char *value = text_cut(at, &name, '=', &size);
  uint64_t *number = is_word(at, name, "size") ? &volume->cache_size : is_word(at, name, "bs") ? &volume->cache_block : NULL;
  if (number != NULL) return (*number == 0 && bytes_parse(value, size, LARGEST_SIZE, number) && *number > 0) || refuse_flag(at, length, "is no size, or is there twice", what);
  if (is_word(at, name, "method")) return is_word(value, size, "loop") || refuse_flag(at, length, "is not method=loop", what);
  if (is_word(at, name, "fs") || is_word(at, name, "fstype")) return is_word(value, size, "xfs") || refuse_flag(at, length, "is not fs=xfs, the only type that there is", what);
  return refuse_flag(at, length, "is no setting of perNodeCache", what);
}

// size=100M[,bs=1M][,method=loop][,fs=xfs]
static bool take_cache(struct volume *volume, const char *at, size_t length, struct buffer *what) {
  for (size_t start = 0; start < length;) {
    const char *comma = memchr(at + start, ',', length - start);
    size_t end = comma == NULL ? length : (size_t)(comma - at);
    if (!take_cache_key(volume, at + start, end - start, what)) return false;
    start = end + 1;
  }
  if (volume->cache_size == 0) return refuse_flag("perNodeCache", 12, "needs size=SIZE", what);
  if (volume->cache_block == 0) volume->cache_block = UINT64_C(1) << 20;
  return true;
}

static bool add_flag(struct volume *volume, const char *at, size_t length, struct buffer *what) {
  static const char cache[] = "perNodeCache";
  size_t name = length, size = 0;
  const char *value = text_cut(at, &name, '=', &size);
  unsigned flag = is_word(at, name, cache) ? VOLUME_CACHE : 0;
  for (size_t i = 0; i < COUNT_OF(flag_names); i++)
    if (is_word(at, length, flag_names[i].name)) flag = flag_names[i].flag;
  if (flag == 0) return refuse_flag(at, length, "is no flag", what);
  if ((volume->flags & flag) != 0) return refuse_flag(at, length, "is there twice", what);
  volume->flags |= flag;
  return flag != VOLUME_CACHE || take_cache(volume, value, size, what);
}

// Each directory on the way is walked again for every place that a volume may not cover.
static bool is_too_deep(const char *path) {
  size_t depth = 0;
  for (; *path != '\0'; path++)
    if (*path == '/') depth++;
  return depth > LIMIT_VOLUME_DEPTH;
}

static bool take_path(char **out, const char *at, size_t length, struct buffer *what) {
  if (has_control(at, length)) return refuse_flag(at, length, "holds a control character", what);
  if (!path_is_plain(at, length)) return refuse_flag(at, length, "is not an absolute path without '..'", what);
  *out = path_clean(at, length);
  return !is_too_deep(*out) || refuse_flag(at, length, "lies too deep", what);
}

static bool site_target(const struct volume *volume) {
  for (size_t i = 0; i < COUNT_OF(site_targets_refused); i++)
    if (strcmp(volume->to, site_targets_refused[i]) == 0) return false;
  return true;
}

static bool user_target(const struct volume *volume) {
  if (strcmp(volume->to, "/") == 0 || strcmp(volume->to, "/opt") == 0) return false;
  if (strcmp(volume->to, "/var/tmp") == 0) return true;
  for (size_t i = 0; volume_kept_places[i] != NULL; i++)
    if (path_is_within(volume->to, volume_kept_places[i])) return false;
  return true;
}

// The parts of an element, separated by ':'.
static bool take_parts(struct volume *volume, const char *at, size_t length, struct buffer *what) {
  size_t number = 0;
  for (struct part part = parts_of(at, length); part_next(&part, ':'); number++) {
    bool taken = true;
    if (number == 0)
      taken = take_path(&volume->from, part.at, part.length, what);
    else if (part.length == 0)
      taken = number > 1 || part.next == NULL; // "from:" and "from:to:" end so; "from::ro" is a mistake
    else if (number == 1)
      taken = take_path(&volume->to, part.at, part.length, what);
    else
      taken = add_flag(volume, part.at, part.length, what);
    if (taken) continue;
    if (what->length == 0) buffer_text(what, "the target is empty");
    return false;
  }
  return true;
}

static bool take_element(struct volume *volume, bool user, const char *at, size_t length, struct buffer *what) {
  if (!take_parts(volume, at, length, what)) return false;
  if (user && volume->to == NULL) return refuse_flag(at, length, "has no target: write FROM:TO", what);
  if (volume->to == NULL) volume->to = memory_copy(volume->from, strlen(volume->from));
  if (user && (volume->flags & ~(unsigned)(VOLUME_READ_ONLY | VOLUME_CACHE)) != 0) return refuse_flag(at, length, "has a flag that only a site may set", what);
  if ((volume->flags & (VOLUME_SLAVE | VOLUME_PRIVATE)) == (VOLUME_SLAVE | VOLUME_PRIVATE))
    return refuse_flag(at, length, "is slave and private, which exclude each other", what);
  return (user ? user_target(volume) : site_target(volume)) || refuse_flag(volume->to, strlen(volume->to), "can't be a target", what);
}

static void free_volume(struct volume *volume) {
  free(volume->from);
  free(volume->to);
}

static bool add(struct volume_map *map, struct volume volume, struct buffer *what) {
  if (map->count == LIMIT_VOLUME_COUNT) {
    buffer_print(what, "there are more than %d volumes", LIMIT_VOLUME_COUNT);
    return false;
  }
  map->items = memory_grow(map->items, &map->room, map->count + 1, sizeof *map->items);
  map->items[map->count++] = volume;
  return true;
}

static bool add_text(struct volume_map *map, bool user, const char *text, struct buffer *what) {
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
    if (!take_element(&volume, user, start, length, what) || !add(map, volume, what)) {
      free_volume(&volume);
      return false;
    }
  }
  return true;
}

bool volume_map_add_site(struct volume_map *map, const char *text, struct buffer *what) {
  return add_text(map, false, text, what);
}

bool volume_map_add_user(struct volume_map *map, const char *text, struct buffer *what) {
  return add_text(map, true, text, what);
}

bool volume_map_spares(const struct volume_map *user, const struct volume_map *site, struct buffer *what) {
  for (size_t i = 0; i < user->count; i++)
    for (size_t j = 0; j < site->count; j++) {
      const char *to = user->items[i].to, *kept = site->items[j].to;
      if (!path_is_within(to, kept) && !path_is_within(kept, to)) continue;
      buffer_print(what, "'%s' can't be a target: the site mounts %s", to, kept);
      return false;
    }
  return true;
}

static int compare_targets(const void *one, const void *other) {
  return strcmp(((const struct volume *)one)->to, ((const struct volume *)other)->to);
}

bool volume_map_settle(struct volume_map *map, struct buffer *what) {
  if (map->count > 0) qsort(map->items, map->count, sizeof *map->items, compare_targets);
  size_t kept = 0;
  for (size_t i = 0; i < map->count; i++) {
    AUTO_BUFFER text = {0}, before = {0};
    volume_text(&map->items[i], &text);
    if (kept > 0) volume_text(&map->items[kept - 1], &before);
    if (kept == 0 || strcmp(map->items[kept - 1].to, map->items[i].to) != 0) {
      map->items[kept++] = map->items[i];
    } else if (strcmp(text.at, before.at) == 0) {
      free_volume(&map->items[i]);
    } else {
      buffer_print(what, "'%s' is the target of two volumes", map->items[i].to);
      while (i < map->count) free_volume(&map->items[i++]);
      map->count = kept;
      return false;
    }
  }
  map->count = kept;
  return true;
}

void volume_text(const struct volume *volume, struct buffer *out) {
  // What was wrapped in quotes has none inside; without them a ';' would end the element.
  const char *quote = strchr(volume->from, ';') != NULL || strchr(volume->to, ';') != NULL ? "\"" : "";
  buffer_print(out, "%s%s:%s", quote, volume->from, volume->to);
  for (size_t i = 0; i < COUNT_OF(flag_names); i++)
    if ((volume->flags & flag_names[i].flag) != 0) buffer_print(out, ":%s", flag_names[i].name);
  if ((volume->flags & VOLUME_CACHE) != 0)
    buffer_print(out, ":perNodeCache=size=%llu,bs=%llu,method=loop,fstype=xfs", (unsigned long long)volume->cache_size, (unsigned long long)volume->cache_block);
  buffer_text(out, quote);
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
  for (size_t i = 0; i < map->count; i++) free_volume(&map->items[i]);
  free(map->items);
  *map = (struct volume_map){0};
}
