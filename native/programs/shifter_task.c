// shifter-task: where a site runs every task inside and Slurm can't put shifter before the words of one, it stands in the place of the first
// word, which it finds in a variable. It runs as the user, who can write that variable himself and gains nothing by it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "slurm/inside.h"

static int refuse(enum error_code code, const char *what) {
  AUTO_BUFFER line = {0};
  struct failure why;
  fail(&why, code, "%s", what);
  failure_line(&why, "shifter-task", &line);
  write_message(&line);
  return error_exit(code);
}

int main(int argc, char **argv) {
  const char *program = getenv(INSIDE_VARIABLE);
  AUTO_WORDS words = {0};
  if (program == NULL || argc < 1) return refuse(ERROR_USAGE, INSIDE_VARIABLE " is not set; Slurm's plugin starts this program");
  words_add_text(&words, SHIFTER_PROGRAM);
  words_add_text(&words, "--");
  words_add_text(&words, program);
  for (int i = 1; i < argc; i++) words_add_text(&words, argv[i]);
  unsetenv(INSIDE_VARIABLE);
  execv(words.items[0], words.items);
  return refuse(ERROR_NATIVE_MISSING, strerror(errno));
}
