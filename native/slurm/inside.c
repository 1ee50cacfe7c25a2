#include "slurm/inside.h"

#include <string.h>

bool inside_is_shifter(const char *program) {
  const char *slash = strrchr(program, '/');
  return strcmp(slash == NULL ? program : slash + 1, "shifter") == 0;
}

// "RANKS PROGRAM ..."
static bool line_runs_shifter(const char *line) {
  AUTO_WORDS words = {0};
  words_add_split(&words, line, " \t");
  return words.count == 0 || words.items[0][0] == '#' || (words.count > 1 && inside_is_shifter(words.items[1]));
}

bool inside_is_multi_prog(int count, char *const *argv, bool *shifter_everywhere) {
  if (count < 2 || strchr(argv[1], '\n') == NULL) return false;
  const char *text = argv[1] + strspn(argv[1], " \t\n");
  AUTO_WORDS lines = {0};
  if (*text == '\0' || strchr("0123456789*#", *text) == NULL) return false;
  words_add_split(&lines, text, "\n");
  *shifter_everywhere = true;
  for (size_t i = 0; i < lines.count; i++) *shifter_everywhere = *shifter_everywhere && line_runs_shifter(lines.items[i]);
  return true;
}
