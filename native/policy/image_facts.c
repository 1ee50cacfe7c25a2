#include "policy/image_facts.h"

#include <stdlib.h>

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

void facts_from_record(struct record *record, struct image_facts *facts) {
  move_words(&record->entrypoint, &facts->entrypoint);
  move_words(&record->command, &facts->command);
  move_words(&record->env, &facts->env);
  facts->workdir = steal(&record->workdir);
  facts->sized = true;
  facts->image_size = record->image_size;
}

void facts_from_meta(struct meta *meta, struct image_facts *facts) {
  move_words(&meta->entrypoint, &facts->entrypoint);
  move_words(&meta->command, &facts->command);
  move_words(&meta->env, &facts->env);
  facts->workdir = steal(&meta->workdir);
}

void facts_free(struct image_facts *facts) {
  words_free(&facts->entrypoint);
  words_free(&facts->command);
  words_free(&facts->env);
  free(facts->workdir);
  *facts = (struct image_facts){0};
}
