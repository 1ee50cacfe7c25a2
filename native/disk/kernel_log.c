#include "disk/kernel_log.h"

#include <string.h>

static bool is_of_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

// PREFIX;TEXT, and lines of a dictionary.
const char *kernel_log_words(char *record, const char *device) {
  size_t length = strlen(device);
  record[strcspn(record, "\n")] = '\0';
  const char *text = strchr(record, ';');
  for (const char *found = text; found != NULL && (found = strstr(found, device)) != NULL; found++)
    if (!is_of_name(found[-1]) && !is_of_name(found[length])) return found + length + strspn(found + length, " ):");
  return NULL;
}
