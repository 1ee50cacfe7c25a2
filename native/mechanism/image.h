// Finding and opening the image a reference means, and asking whether the caller may use it.
#pragma once
#include "mechanism/open.h"
#include "policy/config.h"
#include "policy/image_facts.h"
#include "policy/reference.h"

enum image_format { FORMAT_SQUASHFS }; // the file systems that an image can be

struct image {
  bool local; // a directory of the host, opened with the caller's rights
  char *id;   // or the directory's path
  struct opened file; // its status only of one that is not local
  enum image_format format;
  struct image_facts facts;
  bool is_meta;         // what the facts are from: .meta, or a record
  struct buffer source; // its bytes
};

bool image_open(const struct config *config, const struct image_reference *reference, const char *request, const struct identity *who,
                struct image *image, struct failure *why) MUST_USE;
// What a directory of published images says of a reference, all its files being `owner`'s alone. -1 is an image path that is not there.
bool image_search(int directory, uid_t owner, const struct image_reference *reference, const char *request, const struct identity *who,
                  struct image *image, struct failure *why) MUST_USE;
void image_close(struct image *image);
