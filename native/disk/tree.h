// Files of the mounted tree, which links never lead out of.
#pragma once
#include "policy/failure.h"

// A regular file's first bytes, at most `most`; false when there is none, or it is larger and `whole`.
bool tree_read(const char *root, const char *path, size_t most, bool whole, struct buffer *content) MUST_USE;
// An entry of that name, which may be a link that leads nowhere yet.
bool tree_has(const char *root, const char *path) MUST_USE;
// A value of the os-release file; "" when there is none.
void tree_system(const char *root, const char *key, struct buffer *value);
// The processor of the tree's programs, or NULL when none says it.
const char *tree_architecture(const char *root);
