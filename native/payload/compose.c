#include "payload/compose.h"

#include <stdlib.h>
#include <string.h>

#include "policy/environment.h"

static size_t name_length(const char *setting) {
  return strcspn(setting, "=");
}

ptrdiff_t environment_find(const struct words *environment, const char *setting) {
  size_t name = name_length(setting);
  for (size_t i = 0; i < environment->count; i++)
    if (strncmp(environment->items[i], setting, name) == 0 && environment->items[i][name] == '=') return (ptrdiff_t)i;
  return -1;
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
  if (index < 0) return;
  free(environment->items[index]);
  memmove(&environment->items[index], &environment->items[index + 1], (environment->count - (size_t)index) * sizeof *environment->items);
  environment->count--;
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

static void add_runtime(struct words *runtime, const char *name, const char *value) {
  AUTO_BUFFER setting = {0};
  if (value == NULL) return;
  buffer_print(&setting, "%s=%s", name, value);
  words_add_text(runtime, setting.at);
}

static void add_step(struct composition *made, struct step step) {
  if (step.settings == NULL || step.settings->count == 0) return;
  made->steps = memory_resize(made->steps, made->count + 1, sizeof *made->steps);
  made->steps[made->count++] = step;
}

// The site's lists of one place of udiRoot.conf: set, append, prepend, unset.
static void add_site(struct composition *made, const struct module *module, const struct conf_key *keys, const struct conf_value *values, const int index[4]) {
  static void (*const changes[])(struct words *, const char *) = {environment_put, environment_append, environment_prepend, environment_unset};
  for (size_t i = 0; i < COUNT_OF(changes); i++)
    add_step(made, (struct step){keys[index[i]].name, module, values[index[i]].line, changes[i], &values[index[i]].words});
}

// The order of the reference system: what comes later wins, and the site comes last.
void composition_make(struct composition *made, const struct environment_sources *from) {
  static const int of_module[] = {MODULE_SITE_ENV, MODULE_SITE_ENV_APPEND, MODULE_SITE_ENV_PREPEND, MODULE_SITE_ENV_UNSET};
  static const int of_site[] = {UDIROOT_SITE_ENV, UDIROOT_SITE_ENV_APPEND, UDIROOT_SITE_ENV_PREPEND, UDIROOT_SITE_ENV_UNSET};
  *made = (struct composition){0};
  environment_import(&made->caller, from->caller);
  add_runtime(&made->runtime, "SHIFTER_IMAGEREQUEST", from->request);
  add_runtime(&made->runtime, "SHIFTER_IMAGE", from->image);
  add_step(made, (struct step){"the caller", NULL, 0, environment_put, &made->caller});
  add_step(made, (struct step){"shifter", NULL, 0, environment_put, &made->runtime});
  add_step(made, (struct step){"the image", NULL, 0, environment_put, from->image_env});
  add_step(made, (struct step){"--env-file", NULL, 0, environment_put, from->file});
  add_step(made, (struct step){"--env", NULL, 0, environment_put, from->options});
  for (size_t i = 0; from->modules != NULL && i < from->modules->count; i++)
    add_site(made, from->modules->items[i], module_keys, from->modules->items[i]->values, of_module);
  if (from->site != NULL) add_site(made, NULL, udiroot_keys, from->site, of_site);
}

void composition_apply(const struct composition *made, struct words *environment) {
  for (size_t i = 0; i < made->count; i++)
    for (size_t j = 0; j < made->steps[i].settings->count; j++) made->steps[i].change(environment, made->steps[i].settings->items[j]);
}

static void step_origin(const struct step *step, struct buffer *out) {
  if (step->module != NULL) buffer_print(out, "module_%s_", step->module->name);
  buffer_text(out, step->key);
  if (step->line > 0) buffer_print(out, " (udiRoot.conf:%u)", step->line);
}

// Whether a step changes the variable; those before one that sets or removes it do not matter any more.
static bool touches(const struct step *step, const char *name, size_t length) {
  for (size_t i = 0; i < step->settings->count; i++) {
    const char *setting = step->settings->items[i];
    if (name_length(setting) == length && strncmp(setting, name, length) == 0) return true;
  }
  return false;
}

void composition_origin(const struct composition *made, const char *setting, struct buffer *out) {
  size_t first = 0, length = name_length(setting);
  for (size_t i = 0; i < made->count; i++) {
    bool replaces = made->steps[i].change == environment_put || made->steps[i].change == environment_unset;
    if (replaces && touches(&made->steps[i], setting, length)) first = i;
  }
  for (size_t i = first; i < made->count; i++) {
    if (!touches(&made->steps[i], setting, length)) continue;
    if (out->length > 0) buffer_text(out, ", then ");
    step_origin(&made->steps[i], out);
  }
}

void composition_free(struct composition *made) {
  free(made->steps);
  words_free(&made->caller);
  words_free(&made->runtime);
}
