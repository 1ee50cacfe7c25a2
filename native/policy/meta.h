// The reference system's .meta text (formats/README.md, ".meta").
#pragma once
#include "policy/failure.h"

struct meta {
  bool has_entrypoint, has_command;
  struct words entrypoint, command, env;
  char *workdir;
  struct ids user_acl, group_acl;
};

bool meta_parse(const char *at, size_t length, struct meta *meta, struct failure *why) MUST_USE;
void meta_free(struct meta *meta);
// Pieces with case tables of their own.
bool meta_words(const char *at, size_t length, struct words *out) MUST_USE;
bool meta_ids(const char *at, size_t length, struct ids *out) MUST_USE;
#define AUTO_META CLEANUP(meta_free) struct meta
