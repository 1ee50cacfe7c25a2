#include "slurm/submission.h"

#include <string.h>

#include "policy/arguments.h"
#include "policy/environment.h"
#include "policy/module.h"

#define MOST_VALUE_BYTES 65536 // of one variable

const char *const submit_variables[VARIABLE_COUNT] = {
    [VARIABLE_IMAGETYPE] = "SHIFTER_IMAGETYPE", [VARIABLE_IMAGE] = "SHIFTER_IMAGE",   [VARIABLE_IMAGEREQUEST] = "SHIFTER_IMAGEREQUEST",
    [VARIABLE_VOLUME] = "SHIFTER_VOLUME",       [VARIABLE_MODULE] = "SHIFTER_MODULE", [VARIABLE_ENTRYPOINT] = "SHIFTER_ENTRYPOINT"};

static void replace(char **member, const char *text) {
  cleanup_free(member);
  if (text != NULL) *member = memory_copy(text, strlen(text));
}

// 90, 90s, 5m, 2h
static bool read_seconds(const char *text, uint64_t *seconds) {
  size_t length = strlen(text);
  char unit = length > 0 ? text[length - 1] : '\0';
  uint64_t factor = unit == 'h' ? 3600 : unit == 'm' ? 60 : 1;
  if (unit == 'h' || unit == 'm' || unit == 's') length--;
  if (!number_parse(text, length, UINT32_MAX, false, seconds) || *seconds == 0) return false;
  *seconds *= factor;
  return true;
}

bool submit_option_take(struct submit_options *options, enum submit_option option, const char *value, struct failure *why) {
  bool empty = value == NULL || *value == '\0';
  options->given[option] = true;
  if (!empty && has_control(value, strlen(value))) return fail(why, ERROR_USAGE, "an option of the image holds a control character");
  switch (option) {
  case SUBMIT_IMAGE:
    replace(&options->image, value);
    return !empty || fail(why, ERROR_USAGE, "--image needs a value");
  case SUBMIT_VOLUME:
    return empty ? fail(why, ERROR_USAGE, "--volume needs a value") : take_list("volume", value, &options->volumes, why);
  case SUBMIT_MODULE:
    replace(&options->modules, value);
    return !empty || fail(why, ERROR_USAGE, "--module needs a value");
  case SUBMIT_ENTRYPOINT:
    replace(&options->entrypoint, empty ? NULL : value);
    return true;
  case SUBMIT_IMAGE_PULL:
    return empty || read_seconds(value, &options->pull_seconds) || fail(why, ERROR_USAGE, "--image-pull=%s is no time, such as 90, 5m or 2h", value);
  case SUBMIT_NO_SHIFTER:
  case SUBMIT_OPTION_COUNT:
    break;
  }
  return true;
}

bool submit_options_any(const struct submit_options *options) {
  for (size_t i = 0; i < SUBMIT_OPTION_COUNT; i++)
    if (options->given[i]) return true;
  return false;
}

void submit_options_free(struct submit_options *options) {
  cleanup_free(&options->image);
  cleanup_free(&options->volumes);
  cleanup_free(&options->modules);
  cleanup_free(&options->entrypoint);
  *options = (struct submit_options){0};
}

// In a job a name means what it meant when the job was submitted.
static bool pin_by_job(struct submission *out, char *const *environment) {
  const char *type = environment_value(environment, "SHIFTER_IMAGETYPE"), *id = environment_value(environment, "SHIFTER_IMAGE");
  const char *asked = environment_value(environment, "SHIFTER_IMAGEREQUEST");
  bool in_job = environment_value(environment, "SLURM_JOB_ID") != NULL && asked != NULL && strcmp(asked, out->values[VARIABLE_IMAGEREQUEST]) == 0;
  if (!in_job || type == NULL || strcmp(type, "id") != 0 || id == NULL || !image_id_is_valid(id, strlen(id))) return false;
  out->image.type = IMAGE_ID;
  replace(&out->image.reference, id);
  return true;
}

static bool take_image(const struct arguments *arguments, const struct config *config, char *const *environment, struct submission *out, struct failure *why) {
  AUTO_FREE char *text = NULL;
  AUTO_BUFFER request = {0};
  if (!arguments_image(arguments, environment, &text, why)) return arguments->image == NULL; // a volume may be for an image that is named later
  const char *default_type = config->udiroot[UDIROOT_DEFAULT_IMAGE_TYPE].text, *asked = arguments_request(arguments, environment);
  if (!reference_parse(text, strlen(text), default_type, &out->image, why)) return false;
  buffer_print(&request, "%s:%s", image_type_name(out->image.type), out->image.reference);
  replace(&out->values[VARIABLE_IMAGEREQUEST], asked != NULL ? asked : request.at);
  out->pinned = arguments->image != NULL && pin_by_job(out, environment);
  return true;
}

static bool take_volumes_and_modules(const struct arguments *arguments, const struct config *config, char *const *environment, struct submission *out,
                                     struct failure *why) {
  struct modules modules = {0};
  struct volume_map volumes = {0};
  AUTO_BUFFER map = {0};
  const char *names = arguments_modules(arguments, environment), *text = arguments_volumes(arguments, environment);
  bool good = modules_select(config, names, &modules, why) && volumes_select(config, &modules, text, &volumes, why);
  if (good && names != NULL) replace(&out->values[VARIABLE_MODULE], names);
  if (good && text != NULL) {
    volume_map_signature(&volumes, &map);
    replace(&out->values[VARIABLE_VOLUME], map.at);
  }
  volume_map_free(&volumes);
  modules_free(&modules);
  return good;
}

// The kernel starts no program with a variable of 128 KiB, and Slurm takes a node out of service whose prologue can't be started.
static bool check_sizes(const struct submission *submission, struct failure *why) {
  for (size_t i = 0; i < VARIABLE_COUNT; i++) {
    size_t size = submission->values[i] == NULL ? 0 : strlen(submission->values[i]);
    if (size > MOST_VALUE_BYTES) return fail(why, ERROR_USAGE, "%s would have %zu bytes, and %d are the most that a job can be given", submit_variables[i], size, MOST_VALUE_BYTES);
  }
  return true;
}

bool submission_make(const struct submit_options *options, const struct config *config, char *const *environment, struct submission *out,
                     struct failure *why) {
  const struct arguments arguments = {.image = options->image, .volumes = options->volumes, .modules = options->modules};
  *out = (struct submission){0};
  if (options->given[SUBMIT_IMAGE_PULL] && options->image == NULL) return fail(why, ERROR_USAGE, "--image-pull needs --image");
  if (!take_image(&arguments, config, environment, out, why) || !take_volumes_and_modules(&arguments, config, environment, out, why)) return false;
  if (options->given[SUBMIT_ENTRYPOINT]) replace(&out->values[VARIABLE_ENTRYPOINT], options->entrypoint != NULL ? options->entrypoint : ENTRYPOINT_OF_IMAGE);
  return check_sizes(out, why);
}

void submission_image(const struct submission *submission, struct buffer *out) {
  buffer_print(out, "%s:%s", image_type_name(submission->image.type), submission->image.reference);
}

void submission_resolved(struct submission *submission, const char *id) {
  bool local = submission->image.type == IMAGE_LOCAL; // a directory has no id
  replace(&submission->values[VARIABLE_IMAGETYPE], image_type_name(local ? IMAGE_LOCAL : IMAGE_ID));
  replace(&submission->values[VARIABLE_IMAGE], local ? submission->image.reference : id);
}

void submission_free(struct submission *submission) {
  reference_free(&submission->image);
  for (size_t i = 0; i < VARIABLE_COUNT; i++) cleanup_free(&submission->values[i]);
}
