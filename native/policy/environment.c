#include "policy/environment.h"

#include <stdlib.h>
#include <string.h>

static size_t name_length(const char *setting) {
  return strcspn(setting, "=");
}

bool setting_is_complete(const char *setting) {
  size_t name = name_length(setting);
  return name > 0 && setting[name] == '=' && setting[name + 1] != '\0';
}

ptrdiff_t environment_find(const struct words *environment, const char *setting) {
  size_t name = name_length(setting);
  for (size_t i = 0; i < environment->count; i++)
    if (strncmp(environment->items[i], setting, name) == 0 && environment->items[i][name] == '=') return (ptrdiff_t)i;
  return -1;
}

const char *environment_value(char *const *environment, const char *name) {
  size_t length = strlen(name);
  for (; environment != NULL && *environment != NULL; environment++)
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return *environment + length + 1;
  return NULL;
}

void environment_import(struct words *environment, char *const *from) {
  for (; from != NULL && *from != NULL; from++) {
    size_t name = name_length(*from);
    if (name > 0 && (*from)[name] == '=' && environment_find(environment, *from) < 0) words_add_text(environment, *from);
  }
}

static void replace(struct words *environment, ptrdiff_t index, const char *setting) {
  free(environment->items[index]);
  environment->items[index] = memory_copy(setting, strlen(setting));
}

void environment_put(struct words *environment, const char *setting) {
  ptrdiff_t index = environment_find(environment, setting);
  if (index < 0)
    words_add_text(environment, setting);
  else
    replace(environment, index, setting);
}

// Joins the old value and the new one by ':'; an empty old value is replaced.
static void join(struct words *environment, const char *setting, bool before) {
  ptrdiff_t index = environment_find(environment, setting);
  size_t name = name_length(setting);
  if (index < 0 || environment->items[index][name + 1] == '\0') {
    environment_put(environment, setting);
    return;
  }
  const char *old = environment->items[index] + name + 1, *new = setting + name + 1;
  AUTO_BUFFER joined = {0};
  buffer_print(&joined, "%.*s=%s:%s", (int)name, setting, before ? new : old, before ? old : new);
  replace(environment, index, joined.at);
}

void environment_append(struct words *environment, const char *setting) {
  join(environment, setting, false);
}

void environment_prepend(struct words *environment, const char *setting) {
  join(environment, setting, true);
}

void environment_unset(struct words *environment, const char *name) {
  ptrdiff_t index = environment_find(environment, name);
  if (index >= 0) words_remove(environment, (size_t)index);
}

bool environment_parse_file(struct words *settings, const char *at, size_t length, const char *name, struct failure *why) {
  if (length > 0 && memchr(at, '\0', length) != NULL) return fail(why, ERROR_ENVIRONMENT_INVALID, "%s: a NUL byte", name);
  size_t number = 0;
  for (size_t start = 0; start < length;) {
    const char *newline = memchr(at + start, '\n', length - start);
    size_t end = newline == NULL ? length : (size_t)(newline - at), last = end;
    while (start < last && (is_blank(at[start]) || at[start] == '\r')) start++;
    while (last > start && (is_blank(at[last - 1]) || at[last - 1] == '\r')) last--;
    AUTO_FREE char *setting = memory_copy(at + start, last - start);
    start = end + 1;
    number++;
    if (setting[0] == '\0' || setting[0] == '#') continue;
    if (!setting_is_complete(setting)) return fail(why, ERROR_ENVIRONMENT_INVALID, "%s line %zu is not NAME=VALUE", name, number);
    words_add_text(settings, setting);
  }
  return true;
}

typedef void change(struct words *environment, const char *setting);

static void apply(struct words *environment, const struct words *settings, change *how) {
  for (size_t i = 0; settings != NULL && i < settings->count; i++) how(environment, settings->items[i]);
}

static void put_value(struct words *environment, const char *name, const char *value) {
  AUTO_BUFFER setting = {0};
  buffer_print(&setting, "%s=%s", name, value);
  environment_put(environment, setting.at);
}

// The order of the reference system: what comes later wins, and the site comes last.
void environment_compose(struct words *environment, const struct environment_sources *from) {
  environment_import(environment, from->caller);
  if (from->request != NULL) put_value(environment, "SHIFTER_IMAGEREQUEST", from->request);
  if (from->image != NULL) put_value(environment, "SHIFTER_IMAGE", from->image);
  apply(environment, from->image_env, environment_put);
  apply(environment, from->file, environment_put);
  apply(environment, from->options, environment_put);
  apply(environment, from->site_set, environment_put);
  apply(environment, from->site_append, environment_append);
  apply(environment, from->site_prepend, environment_prepend);
  apply(environment, from->site_unset, environment_unset);
}
