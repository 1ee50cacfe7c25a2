#include "policy/setup_arguments.h"

#include <string.h>

#include "limits.gen.h"
#include "policy/reference.h"

#define HOST "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

bool take_job(const char *name, const char *value, void *field, struct failure *why) {
  if (!job_is_valid(value)) return fail(why, ERROR_USAGE, "--%s '%s' is not 1 to 128 of A-Z a-z 0-9 . _ @ [ ] -", name, value);
  return take_text(name, value, field, why);
}

bool take_id(const char *name, const char *value, void *field, struct failure *why) {
  uint64_t number;
  uint32_t *id = field;
  if (!number_parse(value, strlen(value), LARGEST_ID, false, &number)) return fail(why, ERROR_USAGE, "--%s '%s' is no number of an account", name, value);
  // A word of the user's that a prolog takes for an option must not change whose root it is.
  if (*id != 0) return fail(why, ERROR_USAGE, "--%s is there twice", name);
  *id = (uint32_t)number;
  return number != 0 || fail(why, ERROR_USAGE, "--%s 0: there is no root for the superuser", name);
}

bool take_nodes(const char *name, const char *value, void *field, struct failure *why) {
  struct buffer *lines = field;
  AUTO_WORDS nodes = {0};
  words_add_split(&nodes, value, " ");
  lines->length = 0;
  for (size_t i = 0; i < nodes.count; i++) {
    const char *node = nodes.items[i];
    size_t host = strspn(node, HOST);
    const char *digits = node + host + 1;
    uint64_t count;
    if (host == 0 || node[host] != '/' || !number_parse(digits, strlen(digits), LIMIT_HOSTS_FILE_BYTES, false, &count) || count == 0)
      return fail(why, ERROR_USAGE, "--%s: '%s' is not HOST/N, N being 1 or more", name, node);
    if (lines->length + (host + 1) * count > LIMIT_HOSTS_FILE_BYTES)
      return fail(why, ERROR_USAGE, "--%s makes a file of more than %d bytes", name, LIMIT_HOSTS_FILE_BYTES);
    for (; count > 0; count--) {
      buffer_add(lines, node, host);
      buffer_byte(lines, '\n');
    }
  }
  return nodes.count > 0 || fail(why, ERROR_USAGE, "--%s names no host", name);
}

bool setup_arguments_parse(int argc, char *const *argv, struct setup_arguments *out, struct failure *why) {
  int index = 1;
  *out = (struct setup_arguments){.report = -1, .job = NODE_JOB};
  if (!options_parse(&setup_root_options, argc, argv, out, &index, why)) return false;
  int operands = argc - index;
  if (out->mode == MODE_HELP || out->mode == MODE_VERSION) return true;
  if (out->uid == 0 || out->gid == 0) return fail(why, ERROR_USAGE, "--uid and --gid of the job's user are needed");
  if (out->mode == MODE_RESOLVE) return operands == 0 || fail(why, ERROR_USAGE, "--resolve takes no operand");
  if (operands != 2) return fail(why, ERROR_USAGE, "TYPE and ID of one image are needed as operands; there are %d operands", operands);
  out->type = argv[index];
  out->id = argv[index + 1];
  enum image_type type;
  if (!image_type_parse(out->type, strlen(out->type), &type)) return fail(why, ERROR_USAGE, "'%s' is no type of image, such as docker or id", out->type);
  // The reference system hands over the image's id whatever its type is. No name of these types looks like one.
  if ((type == IMAGE_DOCKER || type == IMAGE_CUSTOM) && hash_is_valid(out->id, strlen(out->id))) out->type = image_type_name(IMAGE_ID);
  return true;
}

void setup_arguments_free(struct setup_arguments *arguments) {
  cleanup_free(&arguments->volumes);
  buffer_free(&arguments->hostsfile);
}

bool unsetup_arguments_parse(int argc, char *const *argv, struct unsetup_arguments *out, struct failure *why) {
  int index = 1;
  *out = (struct unsetup_arguments){.report = -1, .job = NODE_JOB};
  if (!options_parse(&unsetup_root_options, argc, argv, out, &index, why)) return false;
  return index >= argc || fail(why, ERROR_USAGE, "'%s': there are no operands; name the job with --job", argv[index]);
}
