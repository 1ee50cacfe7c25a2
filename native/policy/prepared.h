// Prepared roots: what one was made from and where it is kept, as its entry says (formats/README.md, "Entries of prepared roots").
#pragma once
#include "policy/fields.h"
#include "policy/sha256.h"

#define NODE_JOB "node" // the job of a root that is the node's
#define PREPARED_KIND "shifter-root"
#define PREPARED_VERSION 2

// Those up to PREPARED_META are what the root was made from: equal ones are the same root.
enum prepared_field {
  PREPARED_JOB, PREPARED_UID, PREPARED_GID, PREPARED_GROUPS, PREPARED_CONFIGURATION, PREPARED_BOOT, PREPARED_BUILD, PREPARED_MODULES,
  PREPARED_VOLUMES, PREPARED_VIEW, PREPARED_IMAGE, PREPARED_RECORD, PREPARED_META,
  PREPARED_NODES, PREPARED_PIN, PREPARED_NAMESPACE, PREPARED_LOOP, PREPARED_FILE, PREPARED_MADE, PREPARED_COUNT
};

struct prepared {
  struct buffer fields[PREPARED_COUNT]; // empty ones have at == NULL or length 0
  struct words references;              // canonical ones by which it may be asked for
};

extern const struct field_key prepared_keys[]; // in the order of enum prepared_field, and more
bool prepared_parse(const char *at, size_t length, struct prepared *entry, struct failure *why) MUST_USE;
void prepared_write(const struct prepared *entry, struct buffer *out);
void prepared_free(struct prepared *entry);
#define AUTO_PREPARED CLEANUP(prepared_free) struct prepared

// The name of the entry's file: SHA-256 of what the root was made from.
void prepared_key(const struct prepared *entry, char key[static SHA256_HEX]);
bool prepared_same(const struct prepared *one, const struct prepared *other, enum prepared_field first, enum prepared_field last);
const char *prepared_text(const struct prepared *entry, enum prepared_field field); // "" when there is none
uint64_t prepared_number(const struct prepared *entry, enum prepared_field field);
// Sorted, without repetition, the primary one among them: "7,100".
void prepared_groups(uint32_t gid, const struct ids *groups, struct buffer *out);

// 1 to 128 of A-Z a-z 0-9 . _ @ [ ] -, and a name that a directory can have.
bool job_is_valid(const char *job);
// What the caller's environment says of its job, as far as it could be one; NODE_JOB comes last. Only where to look: that there is
// such a job, and that the root is the caller's, is said by directories that root made.
void job_hints(char *const *environment, struct words *jobs);

// The directory of pins: "pins", "pins.1" and so on.
void pin_place(unsigned number, struct buffer *out);
// The name of a pin in it, "UID.RANDOM.JOB", and whether a name is one of that job and user (uid NULL: of any).
void pin_name(const char *uid, uint64_t random, const char *job, struct buffer *out);
bool pin_is_of(const char *name, const char *uid, const char *job);
// The parts of a pin's name; false when it is none.
bool pin_parse(const char *name, char **uid, char **job) MUST_USE;
