#include "merge/tree.h"

#include <stdlib.h>
#include <string.h>

void tree_open(struct tree *tree, size_t node_size, struct arena *arena, uint64_t key) {
  *tree = (struct tree){.node_size = node_size, .arena = arena, .key = key, .room = 1024};
  tree->slots = memory_get(tree->room, sizeof(struct node *));
  tree->root = arena_get(arena, node_size);
  tree->root->name = "";
}

void tree_close(struct tree *tree) {
  free(tree->slots);
  *tree = (struct tree){0};
}

static uint64_t hash_of(const struct tree *tree, const struct node *parent, const char *name, size_t length) {
  return keyed_hash(tree->key ^ parent->seed, name, length);
}

static struct node **slot_of(const struct tree *tree, const struct node *parent, const char *name, size_t length, uint64_t hash) {
  for (size_t i = hash & (tree->room - 1);; i = (i + 1) & (tree->room - 1)) {
    struct node **slot = &tree->slots[i], *node = *slot;
    if (node == NULL || (node->hash == hash && node->parent == parent && node->length == length && memcmp(node->name, name, length) == 0)) return slot;
  }
}

struct node *tree_child(const struct tree *tree, const struct node *parent, const char *name, size_t length) {
  return *slot_of(tree, parent, name, length, hash_of(tree, parent, name, length));
}

static void grow(struct tree *tree) {
  struct node **old = tree->slots;
  size_t room = tree->room;
  tree->room *= 2;
  tree->slots = memory_get(tree->room, sizeof(struct node *));
  for (size_t i = 0; i < room; i++) {
    struct node *node = old[i];
    if (node == NULL) continue;
    size_t at = node->hash & (tree->room - 1);
    while (tree->slots[at] != NULL) at = (at + 1) & (tree->room - 1);
    tree->slots[at] = node;
  }
  free(old);
}

struct node *tree_make(struct tree *tree, struct node *parent, const char *name, size_t length) {
  uint64_t hash = hash_of(tree, parent, name, length);
  struct node **slot = slot_of(tree, parent, name, length, hash);
  if (*slot != NULL) return *slot;
  if (++tree->count * 2 > tree->room) {
    grow(tree);
    slot = slot_of(tree, parent, name, length, hash);
  }
  struct node *node = arena_get(tree->arena, tree->node_size);
  node->parent = parent;
  node->name = arena_copy(tree->arena, name, length);
  node->length = (uint32_t)length;
  node->hash = node->seed = hash;
  if (parent->last == NULL) parent->first = node;
  else parent->last->next = node;
  parent->last = node;
  return *slot = node;
}

struct node *tree_find(const struct tree *tree, const struct path *path) {
  struct node *node = tree->root;
  for (size_t i = 0; i < path->count && node != NULL; i++) {
    size_t length;
    const char *name = path_component(path, i, &length);
    node = tree_child(tree, node, name, length);
  }
  return node;
}

void tree_forget(struct node *node) {
  node->first = node->last = NULL;
  node->seed += UINT64_C(0x9e3779b97f4a7c15);
}

void tree_path(const struct node *node, struct path *path) {
  size_t depth = 0;
  for (const struct node *each = node; each->parent != NULL; each = each->parent) depth++;
  const struct node **steps = memory_get(depth, sizeof *steps);
  for (size_t i = depth; i-- > 0; node = node->parent) steps[i] = node;
  path_cut(path, 0);
  for (size_t i = 0; i < depth; i++) path_add(path, steps[i]->name, steps[i]->length);
  free(steps);
}
