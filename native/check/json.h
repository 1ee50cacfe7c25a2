// Writing JSON. Text that is not UTF-8 keeps its bytes: each byte outside a well-formed sequence becomes the lone surrogate
// U+DC00 + byte (U+DC80..U+DCFF), as Python's "surrogateescape" does.
#pragma once
#include "policy/base.h"

void json_string(struct buffer *out, const char *at, size_t length);
void json_text(struct buffer *out, const char *text); // NULL: null
void json_key(struct buffer *out, const char *key);   // with a comma unless first
void json_words(struct buffer *out, const struct words *words);
void json_ids(struct buffer *out, const struct ids *ids);
