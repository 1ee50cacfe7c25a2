#include "policy/setup_arguments.h"

#include <string.h>

#include "limits.gen.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

bool job_is_valid(const char *job) {
  size_t length = strspn(job, LETTERS DIGITS "._@[]-");
  return length > 0 && length <= 128 && job[length] == '\0' && strcmp(job, ".") != 0 && strcmp(job, "..") != 0;
}

static bool take_job(const char *value, const char **job, struct failure *why) {
  if (!job_is_valid(value)) return fail(why, ERROR_USAGE, "--job '%s' is not 1 to 128 of A-Z a-z 0-9 . _ @ [ ] -", value);
  *job = value;
  return true;
}

// Root has no user-defined image.
static bool take_id(const char *name, const char *value, uint32_t *id, struct failure *why) {
  if (!option_id(name, value, id, why)) return false;
  return *id != 0 || fail(why, ERROR_USAGE, "%s 0: there is no root for the superuser", name);
}

// "HOST/N HOST/N": each host on N lines.
static bool take_nodes(const char *value, struct buffer *lines, struct failure *why) {
  AUTO_WORDS nodes = {0};
  words_add_split(&nodes, value, " ");
  lines->length = 0;
  for (size_t i = 0; i < nodes.count; i++) {
    const char *node = nodes.items[i];
    size_t host = strspn(node, LETTERS DIGITS "._-");
    const char *digits = node + host + 1;
    uint64_t count;
    if (host == 0 || node[host] != '/' || !number_parse(digits, strlen(digits), LIMIT_HOSTS_FILE_BYTES, false, &count) || count == 0)
      return fail(why, ERROR_USAGE, "--nodes: '%s' is not HOST/N, N being 1 or more", node);
    if (lines->length + (host + 1) * count > LIMIT_HOSTS_FILE_BYTES)
      return fail(why, ERROR_USAGE, "--nodes makes a file of more than %d bytes", LIMIT_HOSTS_FILE_BYTES);
    for (; count > 0; count--) {
      buffer_add(lines, node, host);
      buffer_byte(lines, '\n');
    }
  }
  return nodes.count > 0 || fail(why, ERROR_USAGE, "--nodes names no host");
}

static bool apply_setup(struct setup_arguments *out, enum setup_root_option option, const char *value, struct failure *why) {
  switch (option) {
  case SETUP_ROOT_OPTION_UID:
    return take_id("--uid", value, &out->uid, why);
  case SETUP_ROOT_OPTION_GID:
    return take_id("--gid", value, &out->gid, why);
  case SETUP_ROOT_OPTION_USER:
    return option_text("--user", value, &out->user, why);
  case SETUP_ROOT_OPTION_JOB:
    return take_job(value, &out->job, why);
  case SETUP_ROOT_OPTION_VOLUME:
    option_join(&out->volumes, value);
    break;
  case SETUP_ROOT_OPTION_MODULE:
    out->modules = value;
    break;
  case SETUP_ROOT_OPTION_NODES:
    return take_nodes(value, &out->hostsfile, why);
  case SETUP_ROOT_OPTION_RUN_DIRECTORY:
    return option_text("--run-directory", value, &out->run_directory, why);
  case SETUP_ROOT_OPTION_RESOLVE:
    out->mode = MODE_RESOLVE;
    out->image = value;
    break;
  case SETUP_ROOT_OPTION_REPORT_FD:
    return option_report(value, &out->report, why);
  case SETUP_ROOT_OPTION_VERBOSE:
    out->verbose = true;
    break;
  case SETUP_ROOT_OPTION_HELP:
    out->mode = MODE_HELP;
    break;
  case SETUP_ROOT_OPTION_VERSION:
    out->mode = MODE_VERSION;
    break;
  case SETUP_ROOT_OPTION_SSH_KEY: // refused by the table
  case SETUP_ROOT_OPTION_CCM:
  case SETUP_ROOT_OPTION_MEMORY_CGROUP:
  case SETUP_ROOT_OPTION_COUNT:
    break;
  }
  return true;
}

static bool check_setup(struct setup_arguments *out, char *const *operands, int count, struct failure *why) {
  if (out->mode == MODE_HELP || out->mode == MODE_VERSION) return true;
  if (out->uid == 0 || out->gid == 0) return fail(why, ERROR_USAGE, "--uid and --gid of the job's user are needed");
  if (out->mode == MODE_RESOLVE) return count == 0 || fail(why, ERROR_USAGE, "--resolve takes no operand");
  if (count != 2) return fail(why, ERROR_USAGE, "TYPE and ID of one image are needed as operands; there are %d operands", count);
  out->type = operands[0];
  out->id = operands[1];
  return true;
}

bool setup_arguments_parse(int argc, char *const *argv, struct setup_arguments *out, struct failure *why) {
  *out = (struct setup_arguments){.report = -1, .job = NODE_JOB};
  struct option_reader reader = option_reader(&setup_root_options, argc, argv, 1);
  const struct option *option;
  const char *value;
  enum option_step step;
  while ((step = options_next(&reader, &option, &value, why)) == OPTION_FOUND)
    if (!apply_setup(out, (enum setup_root_option)option->id, value, why)) return false;
  return step == OPTION_END && check_setup(out, argv + reader.index, argc - reader.index, why);
}

void setup_arguments_free(struct setup_arguments *arguments) {
  cleanup_free(&arguments->volumes);
  buffer_free(&arguments->hostsfile);
}

static bool apply_unsetup(struct unsetup_arguments *out, enum unsetup_root_option option, const char *value, struct failure *why) {
  switch (option) {
  case UNSETUP_ROOT_OPTION_JOB:
    out->has_job = true;
    return take_job(value, &out->job, why);
  case UNSETUP_ROOT_OPTION_UID:
    out->has_uid = true;
    return take_id("--uid", value, &out->uid, why);
  case UNSETUP_ROOT_OPTION_LIST:
    out->mode = MODE_LIST;
    break;
  case UNSETUP_ROOT_OPTION_RUN_DIRECTORY:
    return option_text("--run-directory", value, &out->run_directory, why);
  case UNSETUP_ROOT_OPTION_REPORT_FD:
    return option_report(value, &out->report, why);
  case UNSETUP_ROOT_OPTION_HELP:
    out->mode = MODE_HELP;
    break;
  case UNSETUP_ROOT_OPTION_VERSION:
    out->mode = MODE_VERSION;
    break;
  case UNSETUP_ROOT_OPTION_COUNT:
    break;
  }
  return true;
}

bool unsetup_arguments_parse(int argc, char *const *argv, struct unsetup_arguments *out, struct failure *why) {
  *out = (struct unsetup_arguments){.report = -1, .job = NODE_JOB};
  struct option_reader reader = option_reader(&unsetup_root_options, argc, argv, 1);
  const struct option *option;
  const char *value;
  enum option_step step;
  while ((step = options_next(&reader, &option, &value, why)) == OPTION_FOUND)
    if (!apply_unsetup(out, (enum unsetup_root_option)option->id, value, why)) return false;
  if (step == OPTION_WRONG) return false;
  if (reader.index < argc) return fail(why, ERROR_USAGE, "'%s': there are no operands; name the job with --job", argv[reader.index]);
  return true;
}
