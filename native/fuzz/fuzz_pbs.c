// The file that the hook of PBS leaves of a job, whoever may have spoilt it, and the encoded words of a program: nothing of either becomes an
// option of shifter's but what the file may ask for.
//
// Input: a byte for the part, then the file or the word.
#include "fuzz/fuzzing.h"
#include "pbs/job_file.h"

static void file_part(const char *at, size_t size) {
  AUTO_JOB_FILE file = {0};
  AUTO_WORDS argv = {0};
  struct failure why = {0};
  if (!job_file_parse(at, size, &file, &why)) {
    fuzz_refused(&why);
    must(file.job == NULL && file.image == NULL && file.shell == NULL && file.volumes.count == 0);
    return;
  }
  must(strchr(file.job, '/') == NULL && strcmp(file.job, ".") != 0 && strcmp(file.job, "..") != 0 && (file.shell == NULL || file.shell[0] == '/'));
  job_file_arguments(&file, "shifter", &argv);
  must(argv.count >= 3 && strncmp(argv.items[1], "--image=", 8) == 0 && strcmp(argv.items[argv.count - 1], "--") == 0);
  for (size_t i = 2; i + 1 < argv.count; i++)
    must(strncmp(argv.items[i], "--volume=", 9) == 0 || strncmp(argv.items[i], "--module=", 9) == 0 || strcmp(argv.items[i], "--writable") == 0);
  for (size_t i = 0; i < argv.count; i++) must(!has_control(argv.items[i], strlen(argv.items[i])));
}

static void word_part(const char *word) {
  AUTO_BUFFER out = {0};
  if (!text_decode(word, &out)) return;
  must(out.length <= strlen(word) && memchr(out.at == NULL ? "" : out.at, '\0', out.length) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  char *text = fuzz_copy(data + 1, size - 1, data[0] % 2 == 1);
  if (data[0] % 2 == 0)
    file_part(text, size - 1);
  else
    word_part(text);
  free(text);
  return 0;
}
