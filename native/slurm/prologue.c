#include "slurm/prologue.h"

#include <string.h>

#include "policy/environment.h"
#include "policy/reference.h"
#include "policy/volume_map.h"
#include "slurm/submission.h"

static bool read_number(char *const *environment, const char *name, uint64_t *number, struct failure *why) {
  const char *text = environment_value(environment, name);
  bool good = text != NULL && number_parse(text, strlen(text), LARGEST_ID, false, number);
  return good || fail(why, ERROR_JOB_INVALID, "%s is %s; Slurm's prologue and epilogue have it", name, text == NULL ? "not set" : "no number");
}

bool prologue_read_job(char *const *environment, struct prologue *job, struct failure *why) {
  uint64_t id, uid, gid;
  *job = (struct prologue){0};
  if (!read_number(environment, "SLURM_JOB_ID", &id, why) || !read_number(environment, "SLURM_JOB_UID", &uid, why) ||
      !read_number(environment, "SLURM_JOB_GID", &gid, why))
    return false;
  AUTO_BUFFER text = {0};
  buffer_print(&text, "%llu", (unsigned long long)id);
  job->job = steal(&text.at);
  job->uid = (uint32_t)uid;
  job->gid = (uint32_t)gid;
  return true;
}

// An empty variable is as good as none, as for shifter.
static bool read_text(char *const *environment, const char *prefix, enum submit_variable variable, char **out, struct failure *why) {
  AUTO_BUFFER name = {0};
  buffer_print(&name, "SPANK_%s%s", prefix, submit_variables[variable] + strlen("SHIFTER_"));
  const char *text = environment_value(environment, name.at);
  if (text == NULL || *text == '\0') return true;
  if (has_control(text, strlen(text))) return fail(why, ERROR_JOB_INVALID, "%s holds a control character", name.at);
  *out = memory_copy(text, strlen(text));
  return true;
}

static bool check_image(const struct prologue *job, struct failure *why) {
  AUTO_REFERENCE reference = {0};
  AUTO_BUFFER text = {0};
  enum image_type type;
  if (job->type == NULL || job->image == NULL) return fail(why, ERROR_JOB_INVALID, "SPANK_SHIFTER_IMAGETYPE and SPANK_SHIFTER_IMAGE are needed together");
  if (!image_type_parse(job->type, strlen(job->type), &type)) return fail(why, ERROR_REFERENCE_INVALID, "SPANK_SHIFTER_IMAGETYPE is no type of image");
  buffer_print(&text, "%s:%s", job->type, job->image);
  return reference_parse(text.at, text.length, NULL, &reference, why);
}

static bool check_volumes(const struct prologue *job, struct failure *why) {
  struct volume_map volumes = {0};
  AUTO_BUFFER what = {0};
  bool taken = job->volumes == NULL || volume_map_add_user(&volumes, job->volumes, &what);
  volume_map_free(&volumes);
  return taken || fail(why, ERROR_VOLUME_INVALID, "%s", what.at);
}

bool prologue_read_request(char *const *environment, struct prologue *job, struct failure *why) {
  const char *prefix = environment_value(environment, "SPANK_" COMPONENT_PREFIX "IMAGE") != NULL ? COMPONENT_PREFIX : "SHIFTER_";
  return read_text(environment, prefix, VARIABLE_IMAGETYPE, &job->type, why) && read_text(environment, prefix, VARIABLE_IMAGE, &job->image, why) &&
         read_text(environment, prefix, VARIABLE_VOLUME, &job->volumes, why) && read_text(environment, prefix, VARIABLE_MODULE, &job->modules, why) &&
         ((job->type == NULL && job->image == NULL) || (check_image(job, why) && check_volumes(job, why)));
}

static void PRINTF_LIKE(2, 3) add_word(struct words *argv, const char *format, ...) {
  AUTO_BUFFER word = {0};
  va_list arguments;
  va_start(arguments, format);
  buffer_print_list(&word, format, arguments);
  va_end(arguments);
  words_add(argv, word.at, word.length);
}

void prologue_set_up(const struct prologue *job, struct words *argv) {
  add_word(argv, "--job=%s", job->job);
  add_word(argv, "--uid=%u", job->uid);
  add_word(argv, "--gid=%u", job->gid);
  if (job->volumes != NULL) add_word(argv, "--volume=%s", job->volumes);
  if (job->modules != NULL) add_word(argv, "--module=%s", job->modules);
  words_add_text(argv, "--");
  words_add_text(argv, job->type);
  words_add_text(argv, job->image);
}

void prologue_take_down(const struct prologue *job, struct words *argv) {
  add_word(argv, "--job=%s", job->job);
}

void prologue_free(struct prologue *job) {
  cleanup_free(&job->job);
  cleanup_free(&job->type);
  cleanup_free(&job->image);
  cleanup_free(&job->volumes);
  cleanup_free(&job->modules);
}
