#include "policy/image_facts.h"

#include <stdlib.h>
#include <string.h>

void identity_free(struct identity *identity) {
  ids_free(&identity->groups);
}

static bool is_listed(const struct ids *uids, const struct ids *gids, const struct identity *who) {
  if (ids_hold(uids, who->uid) || ids_hold(gids, who->gid)) return true;
  for (size_t i = 0; i < who->groups.count; i++)
    if (ids_hold(gids, who->groups.items[i])) return true;
  return false;
}

bool access_by_lists(const struct ids *uids, const struct ids *gids, const struct identity *who) {
  return (uids->count == 0 && gids->count == 0) || is_listed(uids, gids, who);
}

bool record_allows(const struct record *record, const struct identity *who) {
  return !record->is_private || record->owner == who->uid || is_listed(&record->allow_uids, &record->allow_gids, who);
}

bool meta_allows(const struct meta *meta, const struct identity *who) {
  return access_by_lists(&meta->user_acl, &meta->group_acl, who);
}

static void move_words(struct words *from, struct words *to) {
  words_free(to);
  *to = *from;
  *from = (struct words){0};
}

static enum facts from_record(const struct buffer *content, const char *id, const struct identity *who, struct image_facts *facts, struct failure *why) {
  AUTO_RECORD record = {0};
  if (!record_parse(content->at, content->length, &record, why)) return FACTS_INVALID;
  if (strcmp(record.id, id) != 0) return fail(why, ERROR_RECORD_INVALID, "it is another image's"), FACTS_INVALID;
  if (!record_allows(&record, who)) return FACTS_DENIED;
  move_words(&record.entrypoint, &facts->entrypoint);
  move_words(&record.command, &facts->command);
  move_words(&record.env, &facts->env);
  facts->workdir = steal(&record.workdir);
  facts->sized = true;
  facts->image_size = record.image_size;
  return FACTS_TAKEN;
}

static enum facts from_meta(const struct buffer *content, const struct identity *who, struct image_facts *facts, struct failure *why) {
  AUTO_META meta = {0};
  if (!meta_parse(content->at, content->length, &meta, why)) return FACTS_INVALID;
  if (!meta_allows(&meta, who)) return FACTS_DENIED;
  move_words(&meta.entrypoint, &facts->entrypoint);
  move_words(&meta.command, &facts->command);
  move_words(&meta.env, &facts->env);
  facts->workdir = steal(&meta.workdir);
  return FACTS_TAKEN;
}

enum facts facts_take(bool is_meta, const struct buffer *content, const char *id, const struct identity *who, struct image_facts *facts,
                      struct failure *why) {
  return is_meta ? from_meta(content, who, facts, why) : from_record(content, id, who, facts, why);
}

void facts_free(struct image_facts *facts) {
  words_free(&facts->entrypoint);
  words_free(&facts->command);
  words_free(&facts->env);
  free(facts->workdir);
  *facts = (struct image_facts){0};
}
