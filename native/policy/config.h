// udiRoot.conf and runtime.conf. The keys come from formats/*.json; this file knows their types.
#pragma once
#include "config_keys.gen.h"
#include "policy/failure.h"
#include "policy/sha256.h"
#include "policy/volume_map.h"

// CONF_EXECUTABLE: must exist and is never run; CONF_PROGRAM: run with root's rights; CONF_DIRECTORY: shown, or read, with them.
enum conf_type {
  CONF_PATH, CONF_EXECUTABLE, CONF_PROGRAM, CONF_DIRECTORY, CONF_ENUM, CONF_BOOL, CONF_INTEGER, CONF_SIZE, CONF_UID, CONF_TEXT, CONF_WORDS, CONF_PATHS, CONF_MODULES, CONF_SITEFS
};
enum conf_status { CONF_IN_USE, CONF_DEPRECATED, CONF_IGNORED };

struct conf_key {
  const char *name;
  enum conf_type type;
  const char *fallback; // the default, or NULL
  bool required, appends;
  enum conf_status status;
  const char *const *values; // of an enum, ended by NULL
};
extern const struct conf_key udiroot_keys[UDIROOT_KEY_COUNT], module_keys[MODULE_KEY_COUNT], runtime_keys[RUNTIME_KEY_COUNT];

struct conf_value {
  unsigned line; // 0 when the file does not say it
  char *text;    // NULL when there is neither a value nor a default; paths are clean
  uint64_t number;
  struct words words;
  struct volume_map volumes;
};

struct module {
  char *name;
  struct conf_value values[MODULE_KEY_COUNT];
};

struct config {
  struct conf_value udiroot[UDIROOT_KEY_COUNT], runtime[RUNTIME_KEY_COUNT];
  struct module *modules;
  size_t module_count;
  struct words warnings; // told to administrators, not at every start
  char digest[SHA256_HEX];  // of the bytes of both files
};

// `file` is how messages name the file.
enum config_file { UDIROOT_CONF, RUNTIME_CONF };
bool config_parse(struct config *config, enum config_file from, const char *at, size_t length, const char *file, struct failure *why) MUST_USE;
// Defaults, what is required (unless `lenient`), and what must fit together.
bool config_finish(struct config *config, bool lenient, const char *file, struct failure *why) MUST_USE;
struct module *config_module(const struct config *config, const char *name, size_t length);
void config_free(struct config *config);
