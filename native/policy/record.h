// Records (what an image is and who may use it) and names (which image a reference means).
#pragma once
#include "policy/failure.h"

struct record {
  char *id, *reference, *source_digest, *manifest_digest, *profile, *platform, *image_sha256, *workdir;
  uint64_t image_size, entries;
  uint32_t owner;
  bool is_private;
  struct ids allow_uids, allow_gids;
  struct words entrypoint, command, env;
  struct words labels; // name, value, name, value...
};

struct name_entry {
  char *reference, *id;
};

bool record_parse(const char *at, size_t length, struct record *record, struct failure *why) MUST_USE;
void record_free(struct record *record);
bool name_parse(const char *at, size_t length, struct name_entry *name, struct failure *why) MUST_USE;
void name_free(struct name_entry *name);
// NAME=VALUE with a name and without NUL; the value may be empty.
bool env_setting_is_valid(const char *at, size_t length);
#define AUTO_RECORD CLEANUP(record_free) struct record
#define AUTO_NAME CLEANUP(name_free) struct name_entry
