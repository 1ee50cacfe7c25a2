#include "slurm/inside.h"

#include <string.h>

bool inside_is_shifter(const char *program) {
  const char *slash = strrchr(program, '/');
  return strcmp(slash == NULL ? program : slash + 1, "shifter") == 0;
}

bool inside_is_multi_prog(int count, char *const *argv) {
  if (count < 2 || strchr(argv[1], '\n') == NULL) return false;
  const char *text = argv[1] + strspn(argv[1], " \t\n");
  return *text != '\0' && strchr("0123456789*#", *text) != NULL;
}
