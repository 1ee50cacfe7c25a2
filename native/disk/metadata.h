// The text that LVM keeps its metadata in: NAME = VALUE and NAME { ... }, as a tree.
#pragma once
#include "policy/failure.h"

enum node_kind { NODE_SECTION, NODE_NUMBER, NODE_TEXT, NODE_LIST };

struct node {
  enum node_kind kind;
  char *name; // NULL in a list
  char *text;
  uint64_t number;
  struct node *items;
  size_t count, room;
};

bool metadata_read(const char *text, size_t length, struct node *root, struct failure *why) MUST_USE;
void node_free(struct node *node);

const struct node *node_find(const struct node *section, const char *name, enum node_kind kind);
bool node_number(const struct node *section, const char *name, uint64_t *number) MUST_USE;
const char *node_text(const struct node *section, const char *name); // NULL when there is none
