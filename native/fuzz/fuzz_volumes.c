// Volume maps of users and sites, and sizes. Targets are judged a second time here, component by component; a map's signature is a map that
// means the same.
//
// Input: a byte for the kind, then the text. Kind 2: a user's map and, behind a NUL, a site's.
#include "fuzz/fuzzing.h"
#include "limits.gen.h"
#include "policy/path.h"
#include "policy/volume_map.h"

static size_t split(char *path, char *parts[], size_t most) {
  size_t count = 0;
  for (char *save = NULL, *part = strtok_r(path, "/", &save); part != NULL && count < most; part = strtok_r(NULL, "/", &save)) parts[count++] = part;
  return count;
}

// Whether the components of `above` are the first ones of `path`.
static bool begins(const char *path, const char *above) {
  AUTO_FREE char *one = memory_copy(path, strlen(path));
  AUTO_FREE char *other = memory_copy(above, strlen(above));
  char *parts[2][4096];
  size_t count = split(one, parts[0], 4096), wanted = split(other, parts[1], 4096);
  if (count < wanted) return false;
  for (size_t i = 0; i < wanted; i++)
    if (strcmp(parts[0][i], parts[1][i]) != 0) return false;
  return true;
}

static bool user_may(const char *to) {
  static const char *const below[] = {"/etc", "/proc", "/sys", "/dev", "/opt/udiImage"};
  for (size_t i = 0; i < COUNT_OF(below); i++)
    if (begins(to, below[i])) return false;
  if (begins(to, "/var")) return strcmp(to, "/var/tmp") == 0;
  return strcmp(to, "/") != 0 && strcmp(to, "/opt") != 0;
}

static void check_map(const struct volume_map *map, bool user) {
  must(map->count <= LIMIT_VOLUME_COUNT);
  for (size_t i = 0; i < map->count; i++) {
    const struct volume *volume = &map->items[i];
    must(fuzz_is_clean(volume->from) && fuzz_is_clean(volume->to));
    must(strchr(volume->from, ':') == NULL && strchr(volume->to, ':') == NULL);
    must((volume->flags & VOLUME_CACHE) == 0 || (volume->cache_size > 0 && volume->cache_block > 0 && volume->cache_size <= UINT64_C(1) << 62));
    must((volume->flags & (VOLUME_SLAVE | VOLUME_PRIVATE)) != (VOLUME_SLAVE | VOLUME_PRIVATE));
    if (!user) {
      must(strcmp(volume->to, "/") != 0 && strcmp(volume->to, "/etc") != 0 && strcmp(volume->to, "/var") != 0 && strcmp(volume->to, "/opt") != 0);
      continue;
    }
    must(user_may(volume->to));
    must((volume->flags & ~(unsigned)(VOLUME_READ_ONLY | VOLUME_CACHE)) == 0);
  }
}

static bool read_map(bool user, const char *text, struct volume_map *map) {
  AUTO_BUFFER what = {0};
  *map = (struct volume_map){0};
  bool taken = user ? volume_map_add_user(map, text, &what) : volume_map_add_site(map, text, &what);
  check_map(map, user); // what was taken before a mistake, too
  if (!taken) must(what.length > 0);
  return taken;
}

static void round_trip(bool user, const char *text) {
  struct volume_map map, again;
  AUTO_BUFFER signature = {0}, twice = {0};
  if (read_map(user, text, &map)) {
    buffer_text(&signature, "");
    buffer_text(&twice, "");
    volume_map_signature(&map, &signature);
    bool taken = read_map(user, signature.at, &again);
    if (taken) volume_map_signature(&again, &twice);
    if (!taken || strcmp(signature.at, twice.at) != 0) fprintf(stderr, "%s\n%s\n", signature.at, twice.at);
    must(taken && again.count == map.count && strcmp(signature.at, twice.at) == 0);
    // Each place once, and one that lies above another before it.
    AUTO_BUFFER what = {0};
    bool settled = volume_map_settle(&again, &what);
    must(settled || what.length > 0);
    for (size_t i = 0; i < again.count; i++)
      for (size_t j = 0; j < i; j++) must(strcmp(again.items[i].to, again.items[j].to) != 0 && !begins(again.items[j].to, again.items[i].to));
    volume_map_free(&again);
  }
  volume_map_free(&map);
}

static void apart(const char *users, const char *sites) {
  struct volume_map user, site;
  AUTO_BUFFER what = {0};
  bool both = read_map(true, users, &user);
  both = read_map(false, sites, &site) && both;
  if (both) {
    bool meet = false;
    for (size_t i = 0; i < user.count; i++)
      for (size_t j = 0; j < site.count; j++) meet = meet || begins(user.items[i].to, site.items[j].to) || begins(site.items[j].to, user.items[i].to);
    must(volume_map_spares(&user, &site, &what) == !meet);
    for (size_t i = 0; i < user.count; i++) {
      bool covered = false;
      for (size_t j = 0; j < site.count; j++) covered = covered || begins(user.items[i].to, site.items[j].to);
      must(volume_map_covers(&site, user.items[i].to) == covered);
    }
  }
  volume_map_free(&user);
  volume_map_free(&site);
}

// The number that a size means, in numbers that can't overflow.
static void sizes(const char *text, size_t length) {
  static const uint64_t limits[] = {UINT64_C(1) << 62, UINT64_MAX, 1000};
  static const char units[] = "kmgtpe";
  for (size_t i = 0; i < COUNT_OF(limits); i++) {
    uint64_t bytes;
    if (!bytes_parse(text, length, limits[i], &bytes)) continue;
    must(bytes <= limits[i]);
    bool hex = length > 2 && text[0] == '0' && (text[1] | 0x20) == 'x';
    unsigned __int128 whole = 0, part = 0, scale = 1, factor = 1;
    size_t at = hex ? 2 : 0;
    for (; at < length && (hex ? isxdigit((unsigned char)text[at]) : isdigit((unsigned char)text[at])); at++)
      whole = whole * (hex ? 16 : 10) + (unsigned)(isdigit((unsigned char)text[at]) ? text[at] - '0' : (text[at] | 0x20) - 'a' + 10);
    if (!hex && at < length && text[at] == '.')
      for (at++; at < length && isdigit((unsigned char)text[at]); at++)
        if (scale < 1000) part = part * 10 + (unsigned)(text[at] - '0'), scale *= 10;
    const char *unit = at < length ? strchr(units, text[at] | 0x20) : NULL;
    for (const char *step = units; unit != NULL && step <= unit; step++) factor *= 1024;
    must(bytes == whole * factor + part * factor / scale);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  char *text = fuzz_copy(data + 1, size - 1, true), *exact = fuzz_copy(data + 1, size - 1, false);
  sizes(exact, size - 1);
  if (data[0] % 3 == 2)
    apart(text, strlen(text) < size - 1 ? text + strlen(text) + 1 : "");
  else
    round_trip(data[0] % 3 == 0, text);
  free(text);
  free(exact);
  return 0;
}
