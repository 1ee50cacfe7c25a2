#include "payload/command.h"

#include <string.h>

#include "policy/environment.h"

static void add_words(struct words *to, const struct words *from) {
  for (size_t i = 0; i < from->count; i++) words_add_text(to, from->items[i]);
}

void command_entrypoint(struct arguments *arguments, char *const *environment) {
  static const char *const names[] = {"SHIFTER_ENTRYPOINT", "SLURM_SPANK_SHIFTER_ENTRYPOINT"};
  for (size_t i = 0; i < COUNT_OF(names) && !arguments->use_entrypoint; i++) {
    const char *value = environment_value(environment, names[i]);
    if (value == NULL || *value == '\0') continue;
    arguments->use_entrypoint = true;
    arguments->entrypoint = strcmp(value, ENTRYPOINT_OF_IMAGE) == 0 ? NULL : value;
  }
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
