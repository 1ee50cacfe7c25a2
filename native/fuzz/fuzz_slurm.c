// What users put into a job: the environment of a prologue, the plugin's options, and the words of a task.
//
// Input: a byte for the part, then words, each ended by a NUL.
#include "fuzz/fuzzing.h"
#include "slurm/inside.h"
#include "slurm/prologue.h"
#include "slurm/settings.h"
#include "slurm/submission.h"

#define WORDS 32

// The words of setupRoot's command line say what was read, and no text of a user's stands where an option could.
static void prologue(char *const *environment) {
  AUTO_PROLOGUE job = {0};
  AUTO_WORDS argv = {0};
  struct failure why = {0};
  if (!prologue_read_job(environment, &job, &why) || !prologue_read_request(environment, &job, &why)) {
    fuzz_refused(&why);
    return;
  }
  if (job.image == NULL) return;
  must(job.type != NULL);
  prologue_set_up(&job, &argv);
  must(argv.count >= 6 && strcmp(argv.items[argv.count - 3], "--") == 0 && strcmp(argv.items[argv.count - 2], job.type) == 0);
  for (size_t i = 0; i + 3 < argv.count; i++) must(strncmp(argv.items[i], "--", 2) == 0 && strchr(argv.items[i], '=') != NULL);
  for (size_t i = 0; i < argv.count; i++) must(!has_control(argv.items[i], strlen(argv.items[i])));
}

static void submission(int count, char *const *words, char *const *environment) {
  struct submit_options options = {0};
  struct config config = {0};
  struct failure why = {0};
  bool good = config_finish(&config, true, "udiRoot.conf", &why);
  must(good);
  for (int i = 0; good && i < count; i++) {
    unsigned option = (unsigned char)words[i][0] % SUBMIT_OPTION_COUNT;
    good = submit_option_take(&options, (enum submit_option)option, words[i][0] == '\0' ? NULL : words[i] + 1, &why);
  }
  AUTO_SUBMISSION made = {0};
  good = good && submission_make(&options, &config, environment, &made, &why);
  if (!good) fuzz_refused(&why);
  if (good && made.image.reference != NULL) submission_resolved(&made, "4f6a");
  for (size_t i = 0; good && i < VARIABLE_COUNT; i++) must(made.values[i] == NULL || *made.values[i] != '\0' || i == VARIABLE_VOLUME);
  submit_options_free(&options);
  config_free(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *words[WORDS + 1] = {NULL};
  int count = 0;
  if (size == 0) return 0;
  const uint8_t *end = data + size;
  for (const uint8_t *at = data + 1; at < end && count < WORDS;) {
    const uint8_t *nul = memchr(at, '\0', (size_t)(end - at));
    size_t length = nul == NULL ? (size_t)(end - at) : (size_t)(nul - at);
    words[count++] = fuzz_copy(at, length, true);
    at += length + 1;
  }
  struct settings settings;
  struct failure why = {0};
  bool everywhere;
  if (data[0] % 4 == 0)
    prologue(words);
  else if (data[0] % 4 == 1)
    submission(count / 2, words, words + count / 2);
  else if (data[0] % 4 == 2 && !settings_parse(count, words, &settings, &why))
    fuzz_refused(&why);
  else if (data[0] % 4 == 3)
    (void)inside_is_multi_prog(count, words, &everywhere);
  for (int i = 0; i < count; i++) free(words[i]);
  return 0;
}
