// What the runtime needs to know of an image, from its record or, where there is none, its .meta; and who may use it.
#pragma once
#include "policy/meta.h"
#include "policy/record.h"

struct identity {
  uint32_t uid, gid;
  struct ids groups; // supplementary
};
void identity_free(struct identity *identity);

struct image_facts {
  struct words entrypoint, command, env;
  char *workdir;
  bool sized; // image_size is known: only records say it
  uint64_t image_size;
};

// Both lists empty: everyone. Otherwise the listed users, and the members of the listed groups.
bool access_by_lists(const struct ids *uids, const struct ids *gids, const struct identity *who);
bool record_allows(const struct record *record, const struct identity *who);
bool meta_allows(const struct meta *meta, const struct identity *who);

enum facts { FACTS_TAKEN, FACTS_DENIED, FACTS_INVALID };
// What a record (or .meta) says, if it is that image's and lets `who` use it. *why words FACTS_INVALID alone.
enum facts facts_take(bool is_meta, const struct buffer *content, const char *id, const struct identity *who, struct image_facts *facts,
                      struct failure *why) MUST_USE;
void facts_free(struct image_facts *facts);
