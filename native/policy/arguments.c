#include "policy/arguments.h"

#include <string.h>

#include "policy/environment.h"
#include "policy/image_facts.h"

enum value { VALUE_NONE, VALUE_NEEDED, VALUE_OPTIONAL };

static const struct option {
  char letter; // also how the option is told apart below
  const char *name;
  enum value value;
} options[] = {
    {'h', "help", VALUE_NONE},         {'v', "verbose", VALUE_NONE},     {'i', "image", VALUE_NEEDED},    {'V', "volume", VALUE_NEEDED},
    {'e', "env", VALUE_NEEDED},        {'E', "clearenv", VALUE_NONE},    {'w', "workdir", VALUE_OPTIONAL}, {'m', "module", VALUE_NEEDED},
    {'n', NULL, VALUE_NONE},           {'F', "env-file", VALUE_NEEDED},  {'P', "entrypoint", VALUE_OPTIONAL},
    {'P', "entry", VALUE_OPTIONAL},    {'R', "resolve", VALUE_NEEDED},   {'Q', "version", VALUE_NONE},
    {'W', "writable", VALUE_NONE},     {'O', "report-fd", VALUE_NEEDED}};
#define LONG_ONLY "FPRQWO"

static const struct option *find_long(const char *at, size_t length) {
  for (size_t i = 0; i < COUNT_OF(options); i++)
    if (options[i].name != NULL && text_is(at, length, options[i].name)) return &options[i];
  return NULL;
}

static const struct option *find_short(char letter) {
  for (size_t i = 0; i < COUNT_OF(options); i++)
    if (options[i].letter == letter && strchr(LONG_ONLY, letter) == NULL) return &options[i];
  return NULL;
}

static bool take_report(struct arguments *out, const char *value, struct failure *why) {
  uint64_t number;
  if (!number_parse(value, strlen(value), INT32_MAX, false, &number) || number <= 2)
    return fail(why, ERROR_USAGE, "--report-fd '%s' is no number of a descriptor above 2", value);
  out->report = (int)number;
  return true;
}

static bool apply(struct arguments *out, const struct option *option, const char *value, struct failure *why) {
  out->bare = option->value == VALUE_OPTIONAL && value == NULL ? option->name : NULL;
  switch (option->letter) {
  case 'h':
    out->mode = MODE_HELP;
    break;
  case 'Q':
    out->mode = MODE_VERSION;
    break;
  case 'R':
    out->mode = MODE_RESOLVE;
    out->image = value;
    break;
  case 'v':
    out->verbose = true;
    break;
  case 'i':
    out->image = value;
    break;
  case 'V':
    return fail(why, ERROR_OPTION_UNAVAILABLE, "--volume is not offered by this version");
  case 'W':
    return fail(why, ERROR_OPTION_UNAVAILABLE, "--writable is not offered by this version");
  case 'O':
    return take_report(out, value, why);
  case 'm':
    if (strcmp(value, "none") != 0) return fail(why, ERROR_OPTION_UNAVAILABLE, "--module=%s: modules are not offered by this version", value);
    break;
  case 'e':
    if (!setting_is_complete(value)) return fail(why, ERROR_ENVIRONMENT_INVALID, "--env=%s is not NAME=VALUE", value);
    words_add_text(&out->env, value);
    break;
  case 'F':
    words_add_text(&out->env_files, value);
    break;
  case 'E':
    out->clear_environment = true;
    break;
  case 'w':
    if (value != NULL && *value == '\0') return fail(why, ERROR_USAGE, "--workdir= names no directory");
    out->use_workdir = true;
    out->workdir = value;
    break;
  case 'P':
    if (value != NULL && *value == '\0') return fail(why, ERROR_USAGE, "--entrypoint= names no program");
    out->use_entrypoint = true;
    out->entrypoint = value;
    break;
  default: // -n means nothing
    break;
  }
  return true;
}

static bool parse_long(int argc, char *const *argv, int *index, struct arguments *out, struct failure *why) {
  const char *word = argv[*index] + 2;
  size_t length = strcspn(word, "=");
  const struct option *option = find_long(word, length);
  if (option == NULL) return fail(why, ERROR_USAGE, "there is no option --%.*s", (int)length, word);
  const char *value = word[length] == '=' ? word + length + 1 : NULL;
  if (value != NULL && option->value == VALUE_NONE) return fail(why, ERROR_USAGE, "--%s takes no value", option->name);
  if (value == NULL && option->value == VALUE_NEEDED) {
    if (*index + 1 >= argc) return fail(why, ERROR_USAGE, "--%s needs a value", option->name);
    value = argv[++*index];
  }
  return apply(out, option, value, why);
}

static bool parse_short(int argc, char *const *argv, int *index, struct arguments *out, struct failure *why) {
  for (const char *at = argv[*index] + 1; *at != '\0'; at++) {
    const struct option *option = find_short(*at);
    if (option == NULL) return fail(why, ERROR_USAGE, "there is no option -%c", is_control(*at) ? '?' : *at);
    const char *value = option->value != VALUE_NONE && at[1] != '\0' ? at + 1 : NULL;
    if (value == NULL && option->value == VALUE_NEEDED) {
      if (*index + 1 >= argc) return fail(why, ERROR_USAGE, "-%c needs a value", *at);
      value = argv[++*index];
    }
    if (!apply(out, option, value, why)) return false;
    if (option->value == VALUE_NEEDED || value != NULL) break;
  }
  return true;
}

bool arguments_parse(int argc, char *const *argv, struct arguments *out, struct failure *why) {
  static char *const nothing[] = {NULL};
  *out = (struct arguments){.command = nothing, .report = -1};
  int index = 1;
  for (; index < argc && argv[index] != NULL; index++) {
    const char *word = argv[index];
    if (word[0] != '-' || word[1] == '\0') break;
    if (strcmp(word, "--") == 0) {
      index++;
      break;
    }
    bool parsed = word[1] == '-' ? parse_long(argc, argv, &index, out, why) : parse_short(argc, argv, &index, out, why);
    if (!parsed) return false;
  }
  if (index < argc) out->command = argv + index;
  // "-w /etc -- ls" means /etc for the option, which takes a value only when it is attached; without this /etc would be run.
  bool apart = out->bare != NULL && index + 1 < argc && strcmp(argv[index - 1], "--") != 0 && strcmp(argv[index + 1], "--") == 0;
  if (apart) return fail(why, ERROR_USAGE, "--%s takes a value only with '=': write --%s=%s", out->bare, out->bare, argv[index]);
  if (out->mode == MODE_RESOLVE && out->command[0] != NULL) return fail(why, ERROR_USAGE, "--resolve runs no command");
  return true;
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
  if (text.at == NULL) buffer_text(&text, "");
  *request = steal(&text.at);
  return true;
}

bool arguments_check_environment(char *const *environment, struct failure *why) {
  const char *modules = setting(environment, "SHIFTER_MODULE");
  if (setting(environment, "SHIFTER_VOLUME") != NULL) return fail(why, ERROR_OPTION_UNAVAILABLE, "SHIFTER_VOLUME is set, and volumes are not offered by this version");
  if (modules != NULL && strcmp(modules, "none") != 0)
    return fail(why, ERROR_OPTION_UNAVAILABLE, "SHIFTER_MODULE is set to '%s', and modules are not offered by this version", modules);
  return true;
}

void arguments_free(struct arguments *arguments) {
  words_free(&arguments->env);
  words_free(&arguments->env_files);
}

static void add_words(struct words *to, const struct words *from) {
  for (size_t i = 0; i < from->count; i++) words_add_text(to, from->items[i]);
}

bool command_select(const struct arguments *arguments, const struct image_facts *image, struct words *argv, struct failure *why) {
  bool given = arguments->command[0] != NULL;
  if (arguments->use_entrypoint && arguments->entrypoint != NULL) {
    words_add_text(argv, arguments->entrypoint); // one word, never split; the image's command belongs to the image's entry point
  } else if (arguments->use_entrypoint) {
    if (image->entrypoint.count == 0) return fail(why, ERROR_NO_ENTRYPOINT, "--entrypoint needs an image with an entry point");
    add_words(argv, &image->entrypoint);
    if (!given) add_words(argv, &image->command);
  } else if (!given) {
    words_add_text(argv, "/bin/sh");
  }
  for (char *const *word = arguments->command; *word != NULL; word++) words_add_text(argv, *word);
  return true;
}
