#include "policy/arguments.h"

#include <string.h>

#include "policy/environment.h"
#include "policy/image_facts.h"

bool take_setting(const char *name, const char *value, void *field, struct failure *why) {
  if (!setting_is_complete(value)) return fail(why, ERROR_ENVIRONMENT_INVALID, "--%s=%s is not NAME=VALUE", name, value);
  return take_words(name, value, field, why);
}

bool arguments_parse(int argc, char *const *argv, struct arguments *out, struct failure *why) {
  static char *const nothing[] = {NULL};
  int index = 1;
  *out = (struct arguments){.command = nothing, .report = -1};
  if (!options_parse(&shifter_options, argc, argv, out, &index, why)) return false;
  if (index < argc) out->command = argv + index;
  return out->mode != MODE_RESOLVE || out->command[0] == NULL || fail(why, ERROR_USAGE, "--resolve runs no command");
}

// A variable of the workload manager's plugin counts where the plain one is not set.
static const char *setting(char *const *environment, const char *name) {
  const char *value = environment_value(environment, name);
  if (value != NULL && *value != '\0') return value;
  AUTO_BUFFER twin = {0};
  buffer_print(&twin, "SLURM_SPANK_%s", name);
  value = environment_value(environment, twin.at);
  return value != NULL && *value != '\0' ? value : NULL;
}

bool arguments_image(const struct arguments *arguments, char *const *environment, char **request, struct failure *why) {
  AUTO_BUFFER text = {0};
  if (arguments->image != NULL) {
    buffer_text(&text, arguments->image);
  } else {
    const char *type = setting(environment, "SHIFTER_IMAGETYPE"), *image = setting(environment, "SHIFTER_IMAGE");
    const char *asked = setting(environment, "SHIFTER_IMAGEREQUEST");
    if (type != NULL && image != NULL)
      buffer_print(&text, "%s:%s", type, image);
    else if (asked != NULL && type == NULL)
      buffer_text(&text, asked);
    else if (type != NULL || image != NULL)
      return fail(why, ERROR_USAGE, "SHIFTER_IMAGETYPE and SHIFTER_IMAGE are needed together");
    else
      return fail(why, ERROR_USAGE, "no image is named; give --image");
  }
  *request = steal(&text.at);
  return true;
}

const char *arguments_request(const struct arguments *arguments, char *const *environment) {
  return arguments->image != NULL ? NULL : setting(environment, "SHIFTER_IMAGEREQUEST");
}

const char *arguments_volumes(const struct arguments *arguments, char *const *environment) {
  return arguments->volumes != NULL ? arguments->volumes : setting(environment, "SHIFTER_VOLUME");
}

const char *arguments_modules(const struct arguments *arguments, char *const *environment) {
  return arguments->modules != NULL ? arguments->modules : setting(environment, "SHIFTER_MODULE");
}

void arguments_free(struct arguments *arguments) {
  cleanup_free(&arguments->volumes);
  words_free(&arguments->env);
  words_free(&arguments->env_files);
}
