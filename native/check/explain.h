// A configuration in words: each key with its value, where that comes from, and what it means.
#pragma once
#include "policy/config.h"

extern const char *const udiroot_texts[UDIROOT_KEY_COUNT], *const module_texts[MODULE_KEY_COUNT], *const runtime_texts[RUNTIME_KEY_COUNT];

// "udiRoot.conf:3", "default", or NULL for a key that has no value. To be freed.
char *origin_of(const char *file, const struct conf_value *value);
// `wrong`: of site_check.
void explain_config(struct buffer *out, const char *directory, const struct config *config, const struct words *wrong);
