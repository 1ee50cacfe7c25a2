// A tree of names. Nodes are the first member of what their user keeps of a name.
#pragma once
#include "merge/path.h"
#include "merge/table.h"

struct node {
  struct node *parent, *first, *last, *next; // children in the order they were made
  const char *name;
  uint64_t hash, seed; // `seed`: part of the children's hashes
  uint32_t length;
};

struct tree {
  size_t node_size;
  struct arena *arena;
  uint64_t key;
  struct node *root, **slots;
  size_t count, room;
};

void tree_open(struct tree *tree, size_t node_size, struct arena *arena, uint64_t key);
void tree_close(struct tree *tree); // the nodes belong to the arena
struct node *tree_child(const struct tree *tree, const struct node *parent, const char *name, size_t length); // NULL when there is none
struct node *tree_make(struct tree *tree, struct node *parent, const char *name, size_t length);             // or the one that is there
struct node *tree_find(const struct tree *tree, const struct path *path);
void tree_forget(struct node *node); // its children: none of them is found again
void tree_path(const struct node *node, struct path *path);
