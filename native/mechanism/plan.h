// What is to be built, from what was asked for: the one description of a root, for `shifter` as for `setupRoot`.
#pragma once
#include "mechanism/etc_files.h"
#include "mechanism/image.h"
#include "policy/module.h"

// What was asked for. NULL: nothing was.
struct root_request {
  const char *image;   // with or without its type
  const char *volumes; // a volume map
  const char *modules; // names separated by commas, "none", or NULL for the site's defaults
  bool writable;
};

struct root_plan {
  struct identity who; // whose root it is; set before plan_begin
  const char *user;    // NULL where the groups of `who` are known; or the account whose groups he has then, "": that of his uid
  // Known after plan_begin: everything but what is read from the image path and the accounts.
  struct config config;
  struct image_reference reference;
  char *request; // TYPE:REFERENCE as asked for
  struct volume_map volumes; // the user's; those of the site and of modules are the configuration's
  struct modules modules;    // active ones, in order; they point into config
  bool writable;             // the root stays writable, as far as its size goes
  // Known after plan_complete.
  struct accounts accounts;
  struct image image;
  struct made_files etc; // files written to /etc
  struct made_files var; // and to /var: shifterConfig.json, and what the caller adds (hostsfile)
  int device;            // a read-only loop device that shows the image file already, or -1: one is attached
};

#define EMPTY_PLAN {.image = {.file.fd = -1}, .device = -1}

// Before: ids all root, plan->who known. Reads the configuration and checks what was asked for against it; opens nothing of an image.
bool plan_begin(const struct root_request *asked, struct root_plan *plan, struct failure *why) MUST_USE;
// Accounts, and the groups of plan->who where they were not known. plan_complete begins with it.
bool plan_identify(struct root_plan *plan, struct failure *why) MUST_USE;
// Only the image, for the answer of --resolve.
bool plan_open_image(struct root_plan *plan, struct failure *why) MUST_USE;
// Accounts, image (opened and checked, with the right of plan->who to use it) and the files of /etc and /var.
bool plan_complete(struct root_plan *plan, struct failure *why) MUST_USE;
// The text of /var/shifterConfig.json.
void plan_describe(const struct root_plan *plan, struct buffer *out);
