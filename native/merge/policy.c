#include "merge/policy.h"

#include <string.h>

uint32_t kept_mode(uint32_t mode) {
  return mode & 01777;
}

bool is_kept(enum tar_type type) {
  return type != TAR_CHARACTER && type != TAR_BLOCK_DEVICE && type != TAR_FIFO;
}

static bool starts_with(const struct tar_attribute *attribute, const char *prefix) {
  size_t length = strlen(prefix);
  return attribute->name_length >= length && memcmp(attribute->name, prefix, length) == 0;
}

bool is_kept_attribute(const struct tar_attribute *attribute) {
  return starts_with(attribute, "user.") && !starts_with(attribute, "user.overlay.") && attribute->name_length > 5;
}
