#include "slurm/settings.h"

#include <string.h>

#define CONFIGURATION CONFIG_DIRECTORY "/udiRoot.conf"

// Of the reference system: what is not offered here, and what is in its place.
static const struct {
  const char *name, *why;
  bool is_switch; // 0 leaves it off
} refused[] = {
    {"extern_setup", "a program that prepares a node belongs into Slurm's Prolog", false},
    {"extern_cgroup", "the processes of a job are Slurm's to keep (ProctrackType=proctrack/cgroup)", true},
    {"memory_cgroup", "limits of memory are Slurm's (task/cgroup with ConstrainRAMSpace)", false},
    {"enable_ccm", "Cray's cluster compatibility mode needs an sshd inside images, and none is started", true},
    {"enable_sshd", "no sshd is started inside images; srun --overlap reaches a job's nodes", true},
};

static bool refuse_known(const char *word, size_t name, const char *value, bool *known, struct failure *why) {
  for (size_t i = 0; i < COUNT_OF(refused); i++) {
    if (!text_is(word, name, refused[i].name)) continue;
    *known = true;
    bool off = value != NULL && (refused[i].is_switch ? strcmp(value, "0") == 0 : *value == '\0');
    return off || fail(why, ERROR_OPTION_UNAVAILABLE, "plugstack.conf: %s is not offered: %s", refused[i].name, refused[i].why);
  }
  return true;
}

static bool take(struct settings *out, const char *word, struct failure *why) {
  size_t name = strcspn(word, "=");
  const char *value = word[name] == '=' ? word + name + 1 : NULL;
  bool known = false;
  if (text_is(word, name, "long_options") && (value == NULL || strcmp(value, "1") == 0 || strcmp(value, "0") == 0))
    return out->long_options = value == NULL || *value == '1', true;
  if (text_is(word, name, "tasks") && value != NULL && (strcmp(value, "inside") == 0 || strcmp(value, "outside") == 0))
    return out->inside = *value == 'i', true;
  if (text_is(word, name, "shifterimg") && value != NULL && *value != '\0') return out->shifterimg = value, true;
  if (text_is(word, name, "shifter_config") && value != NULL)
    return strcmp(value, CONFIGURATION) == 0 || fail(why, ERROR_OPTION_UNAVAILABLE, "plugstack.conf: shifter_config=%s: the programs were built for " CONFIGURATION, value);
  if (!refuse_known(word, name, value, &known, why)) return false;
  return known || fail(why, ERROR_USAGE, "plugstack.conf: '%s' is none of long_options, tasks=inside|outside, shifterimg=PROGRAM", word);
}

bool settings_parse(int count, char *const *words, struct settings *out, struct failure *why) {
  *out = (struct settings){.shifterimg = "shifterimg"};
  for (int i = 0; i < count; i++)
    if (!take(out, words[i], why)) return false;
  return true;
}
