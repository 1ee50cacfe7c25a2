#include "policy/environment.h"

#include <string.h>

bool setting_is_complete(const char *setting) {
  size_t name = strcspn(setting, "=");
  return name > 0 && setting[name] == '=' && setting[name + 1] != '\0';
}

const char *environment_value(char *const *environment, const char *name) {
  size_t length = strlen(name);
  for (; environment != NULL && *environment != NULL; environment++)
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return *environment + length + 1;
  return NULL;
}
