#include "merge/plan.h"

#include <stdlib.h>
#include <string.h>

#include "merge/tree.h"

// What a name stands for. Names of one inode form a list, in the order in which they were stated.
struct inode {
  size_t entry, count;
  enum tar_type type;
  struct planned *oldest, *newest;
};

struct planned {
  struct node node;
  struct inode *inode; // NULL: nothing is stated under this name
  struct planned *before, *after;
  size_t below; // names stated below this one
};

struct plan {
  struct arena arena;
  struct tree tree;
  struct inode **inodes; // by the number of the entry that made them
  size_t count, room;
};

bool through_fault(struct failure *why, const struct path *path, size_t parent, enum tar_type type) {
  AUTO_BUFFER above = {0};
  size_t length = path->ends[parent - 1];
  buffer_add(&above, path->text.at, length > 80 ? 80 : length);
  return tar_fault(why, path->text.at, path->text.length, "it lies below \"%s\", which this layer makes a %s", above.at, tar_type_name(type));
}

static void detach(struct planned *name) {
  struct inode *inode = name->inode;
  if (name->before == NULL) inode->oldest = name->after;
  else name->before->after = name->after;
  if (name->after == NULL) inode->newest = name->before;
  else name->after->before = name->before;
  inode->count--;
  name->inode = NULL;
}

// Everything below a name that becomes something other than a directory is gone, and is not visited again.
static void remove_below(struct planned *name) {
  for (struct node *each = name->node.first; each != NULL; each = each->next) {
    struct planned *child = (struct planned *)each;
    if (child->below > 0) remove_below(child);
    if (child->inode != NULL) detach(child);
  }
  tree_forget(&name->node);
  for (struct node *each = name->node.parent; each != NULL; each = each->parent) ((struct planned *)each)->below -= name->below;
  name->below = 0;
}

static void put(struct plan *plan, const struct path *path, struct inode *inode) {
  struct node *node = plan->tree.root;
  for (size_t i = 0; i < path->count; i++) {
    size_t length;
    const char *part = path_component(path, i, &length);
    node = tree_make(&plan->tree, node, part, length);
  }
  struct planned *name = (struct planned *)node;
  if (inode->type != TAR_DIRECTORY && name->below > 0) remove_below(name);
  if (name->inode != NULL) {
    detach(name);
  } else {
    for (struct node *each = name->node.parent; each != NULL; each = each->parent) ((struct planned *)each)->below++;
  }
  name->inode = inode;
  name->after = NULL;
  name->before = inode->newest;
  if (inode->newest == NULL) inode->oldest = name;
  else inode->newest->after = name;
  inode->newest = name;
  inode->count++;
}

static bool below_no_file(const struct plan *plan, const struct path *path, struct failure *why) {
  const struct node *node = plan->tree.root;
  for (size_t i = 0; i + 1 < path->count; i++) {
    size_t length;
    const char *part = path_component(path, i, &length);
    node = tree_child(&plan->tree, node, part, length);
    if (node == NULL) return true;
    const struct inode *inode = ((const struct planned *)node)->inode;
    if (inode != NULL && inode->type != TAR_DIRECTORY) return through_fault(why, path, i + 1, inode->type);
  }
  return true;
}

static struct inode *linked(const struct plan *plan, const struct path *path, const struct path *target, bool *valid, struct failure *why) {
  *valid = false;
  if (target->text.length == path->text.length && target->count > 0 && memcmp(target->text.at, path->text.at, path->text.length) == 0) {
    tar_fault(why, path->text.at, path->text.length, "it is a hard link to itself");
    return NULL;
  }
  const struct planned *name = (const struct planned *)tree_find(&plan->tree, target);
  if (name != NULL && ((name->inode != NULL && name->inode->type == TAR_DIRECTORY) || name->below > 0)) {
    tar_fault(why, path->text.at, path->text.length, "it is a hard link to a directory");
    return NULL;
  }
  *valid = true;
  return name == NULL ? NULL : name->inode;
}

static bool state(struct plan *plan, size_t number, const struct tar_entry *entry, const struct path_limits *limits, struct path *path,
  struct path *target, struct failure *why) {
  enum whiteout whiteout;
  if (!path_read(path, entry->name, entry->name_length, limits, entry, "its name", why) || !path_whiteout(path, &whiteout, why)) return false;
  if (whiteout == WHITEOUT_METADATA) return true;
  if (!below_no_file(plan, path, why)) return false;
  if (whiteout != WHITEOUT_NONE) return true;
  struct inode *inode = NULL;
  if (entry->type == TAR_LINK) {
    if (!path_read(target, entry->link, entry->link_length, limits, entry, "the target of this hard link", why)) return false;
    bool valid;
    inode = linked(plan, path, target, &valid, why);
    if (!valid) return false;
  }
  if (inode == NULL) {
    inode = arena_get(&plan->arena, sizeof *inode);
    *inode = (struct inode){.entry = number, .type = entry->type};
    plan->inodes[number] = inode;
  }
  put(plan, path, inode);
  return plan->tree.count <= limits->names || too_many_names(why, entry, limits);
}

static void cleanup_reader(struct tar_reader **reader) {
  tar_close(reader);
}

struct plan *plan_make(struct tar_input input, const struct path_limits *limits, uint64_t key, struct failure *why) {
  struct plan *plan = memory_get(1, sizeof *plan);
  tree_open(&plan->tree, sizeof(struct planned), &plan->arena, key);
  CLEANUP(cleanup_reader) struct tar_reader *reader = tar_open(input);
  CLEANUP(path_free) struct path path = {0}, target = {0};
  const struct tar_entry *entry;
  for (;;) {
    enum tar_step step = tar_next(reader, &entry, why);
    if (step == TAR_END) return plan;
    if (plan->count == plan->room) {
      size_t room = plan->room == 0 ? 1024 : plan->room * 2;
      plan->inodes = memory_resize(plan->inodes, room, sizeof(struct inode *));
      memset(plan->inodes + plan->room, 0, (room - plan->room) * sizeof(struct inode *));
      plan->room = room;
    }
    if (step == TAR_FAULT || (plan->count == limits->names && !too_many_names(why, entry, limits)) || !state(plan, plan->count++, entry, limits, &path, &target, why)) {
      plan_free(&plan);
      return NULL;
    }
  }
}

void plan_free(struct plan **plan) {
  struct plan *each = *plan;
  if (each == NULL) return;
  tree_close(&each->tree);
  arena_free(&each->arena);
  free(each->inodes);
  free(each);
  *plan = NULL;
}

size_t plan_names(const struct plan *plan, size_t entry) {
  return entry >= plan->count || plan->inodes[entry] == NULL ? 0 : plan->inodes[entry]->count;
}

const struct planned *plan_name(const struct plan *plan, size_t entry, const struct planned *before, struct path *path) {
  const struct planned *name = before == NULL ? plan->inodes[entry]->oldest : before->after;
  if (name != NULL) tree_path(&name->node, path);
  return name;
}
