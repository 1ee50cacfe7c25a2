// Paths by components, never by string prefixes.
#pragma once
#include "policy/base.h"

bool path_is_absolute(const char *path, size_t length);
bool path_has_parent(const char *path, size_t length); // a ".." component
// An absolute path without empty and "." components and without a trailing "/".
char *path_clean(const char *path, size_t length) MUST_USE;
// Both clean: is `path` the same as `above`, or below it?
bool path_is_within(const char *path, const char *above);
// Absolute, no "..", no control character: what a configuration file may name.
bool path_is_plain(const char *path, size_t length);
// Next component of a path: its start, its length in *length, NULL at the end.
const char *path_component(const char *path, size_t *length);
