#include "policy/module.h"

#include <stdlib.h>
#include <string.h>

static bool refuse(const char *name, const char *what, struct failure *why) {
  return fail(why, ERROR_MODULE_REFUSED, "the module '%s' %s", name, what);
}

// Whether one of two names the other.
static bool conflict(const struct module *one, const struct module *other) {
  return words_hold(&one->values[MODULE_CONFLICT].words, other->name) || words_hold(&other->values[MODULE_CONFLICT].words, one->name);
}

static bool add(const struct config *config, const char *name, struct modules *modules, struct failure *why) {
  const struct module *module = config_module(config, name, strlen(name));
  if (module == NULL) return refuse(name, "is not defined at this site", why);
  if (module->values[MODULE_ENABLED].number == 0) return refuse(name, "is disabled at this site", why);
  for (size_t i = 0; i < modules->count; i++) {
    if (modules->items[i] == module) return refuse(name, "is named twice", why);
    if (conflict(module, modules->items[i]))
      return fail(why, ERROR_MODULE_REFUSED, "the modules '%s' and '%s' exclude each other", modules->items[i]->name, name);
  }
  modules->items = memory_resize(modules->items, modules->count + 1, sizeof *modules->items);
  modules->items[modules->count++] = module;
  return true;
}

bool modules_select(const struct config *config, const char *asked, struct modules *modules, struct failure *why) {
  AUTO_WORDS own = {0};
  const struct words *names = &config->udiroot[UDIROOT_DEFAULT_MODULES].words;
  if (asked != NULL) {
    words_add_split(&own, asked, ",");
    names = &own;
    if (own.count == 0) return refuse(asked, "has no name", why);
  }
  // Alone it means none; among others it is a name like any other, and no site has it.
  if (asked != NULL && own.count == 1 && strcmp(own.items[0], "none") == 0) return true;
  for (size_t i = 0; i < names->count; i++)
    if (!add(config, names->items[i], modules, why)) return false;
  return true;
}

bool volumes_select(const struct config *config, const struct modules *modules, const char *asked, struct volume_map *volumes, struct failure *why) {
  AUTO_BUFFER what = {0};
  bool taken = asked == NULL || (volume_map_add_user(volumes, asked, &what) && volume_map_settle(volumes, &what) &&
                                 volume_map_spares(volumes, &config->udiroot[UDIROOT_SITE_FS].volumes, &what));
  for (size_t i = 0; taken && i < modules->count; i++) taken = volume_map_spares(volumes, &modules->items[i]->values[MODULE_SITE_FS].volumes, &what);
  return taken || fail(why, ERROR_VOLUME_INVALID, "%s", what.at);
}

bool caches_allowed(const struct config *config, const struct volume_map *volumes, struct failure *why) {
  const struct conf_value *conf = config->udiroot;
  const struct conf_value *limit = &conf[UDIROOT_PER_NODE_CACHE_SIZE_LIMIT], *allowed = &conf[UDIROOT_PER_NODE_CACHE_ALLOWED_FS_TYPE];
  if (conf[UDIROOT_PER_NODE_CACHE_PATH].text == NULL || conf[UDIROOT_MKFS_XFS_PATH].text == NULL)
    return fail(why, ERROR_CACHE_REFUSED, "this site offers no per-node caches");
  if (allowed->words.count > 0 && !words_hold(&allowed->words, "xfs")) return fail(why, ERROR_CACHE_REFUSED, "this site allows no xfs for per-node caches");
  uint64_t whole = 0; // at most LIMIT_VOLUME_COUNT times LARGEST_SIZE, which 64 bits hold
  for (size_t i = 0; i < volumes->count; i++) whole += volumes->items[i].cache_size;
  if (limit->text != NULL && whole > limit->number)
    return fail(why, ERROR_CACHE_REFUSED, "per-node caches of %llu bytes are more than the %llu that this site allows", (unsigned long long)whole,
                (unsigned long long)limit->number);
  return true;
}

void modules_free(struct modules *modules) {
  free(modules->items);
  *modules = (struct modules){0};
}
