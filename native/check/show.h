// What shifter-check prints: each thing as one JSON object, keys in alphabetical order.
#pragma once
#include "policy/config.h"
#include "policy/meta.h"
#include "policy/module.h"
#include "policy/prepared.h"
#include "policy/record.h"
#include "policy/reference.h"

void show_reference(struct buffer *out, const struct image_reference *reference);
void show_record(struct buffer *out, const struct record *record);
void show_root(struct buffer *out, const struct prepared *entry);
void show_name(struct buffer *out, const struct name_entry *name);
void show_meta(struct buffer *out, const struct meta *meta);
void show_config(struct buffer *out, const struct config *config, const struct words *wrong); // `wrong`: of site_check
void show_request(struct buffer *out, const struct modules *modules, const struct volume_map *volumes);
void show_failure(struct buffer *out, const struct failure *why);
// With what to do about it, for whoever tells a user.
void show_refusal(struct buffer *out, const struct failure *why);

// Parses bytes of a kind (ref, record, name, meta) and shows what they say, or why they were refused. The exit status.
int show_parsed(struct buffer *out, const char *kind, const char *at, size_t length, const char *default_type);
