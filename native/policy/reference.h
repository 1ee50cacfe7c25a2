// Image references, as formats/README.md defines them.
#pragma once
#include "policy/failure.h"

enum image_type {
  IMAGE_DOCKER, IMAGE_ID, IMAGE_LOCAL, IMAGE_CUSTOM, IMAGE_OCI, IMAGE_OCI_ARCHIVE, IMAGE_DOCKER_ARCHIVE, IMAGE_DOCKER_DAEMON, IMAGE_VM,
  IMAGE_CHOS, IMAGE_TYPE_COUNT
};

struct image_reference {
  enum image_type type;
  char *reference; // without the type
  char *canonical; // TYPE:REFERENCE, or NULL when there is no canonical form here
};

const char *image_type_name(enum image_type type);
bool image_type_parse(const char *at, size_t length, enum image_type *type) MUST_USE;
bool image_id_is_valid(const char *at, size_t length);
bool hash_is_valid(const char *at, size_t length);   // 64 hexadecimal digits, as the ids of images that we made
bool digest_is_valid(const char *at, size_t length); // sha256:HASH
bool reference_parse(const char *at, size_t length, const char *default_type, struct image_reference *out, struct failure *why) MUST_USE;
// Whether the bytes are a canonical form, as names and records hold them.
bool reference_is_canonical(const char *at, size_t length);
void reference_free(struct image_reference *reference);
#define AUTO_REFERENCE CLEANUP(reference_free) struct image_reference
