#include "tree/names.h"

#include <string.h>

#define HOPS 40

void names_open(struct names *names, uint64_t key) {
  tree_open(&names->tree, sizeof(struct name), &names->arena, key);
}

void names_close(struct names *names) {
  tree_close(&names->tree);
  arena_free(&names->arena);
}

struct name *names_make(struct names *names, const struct path *path) {
  struct node *node = names->tree.root;
  for (size_t i = 0; i < path->count; i++) {
    size_t length;
    const char *component = path_component(path, i, &length);
    node = tree_make(&names->tree, node, component, length);
  }
  return (struct name *)(void *)node;
}

const struct name *names_find(const struct names *names, const struct path *path) {
  const struct node *node = tree_find(&names->tree, path);
  return (const struct name *)(const void *)node;
}

void names_lead(struct names *names, struct name *name, const char *target, size_t length) {
  name->target = arena_copy(&names->arena, target, length);
  if (name->listed) return;
  name->listed = true;
  if (names->last_link == NULL) names->first_link = name;
  else names->last_link->next_link = name;
  names->last_link = name;
}

// Where a name leads, links followed as in a root file system.
struct lead {
  const struct name *end; // NULL: to nothing
  bool of_node;           // but for what the runtime shows of the node itself
  bool left_out;          // to what was in the tree
  bool absolute;          // by a link from the root
};

// What the runtime shows or gives is there whatever the image holds.
static bool is_of_node(const struct node *directory, const char *part, size_t length) {
  static const char *const places[] = {"proc", "sys", "dev", "run", "tmp"}, *const files[] = {"passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"};
  CLEANUP(path_free) struct path path = {0};
  tree_path(directory, &path);
  path_add(&path, part, length);
  const char *top = path_component(&path, 0, &length);
  for (size_t i = 0; i < COUNT_OF(places); i++)
    if (text_is(top, length, places[i])) return true;
  if (path.count != 2 || !text_is(top, length, "etc")) return false;
  const char *file = path_component(&path, 1, &length);
  for (size_t i = 0; i < COUNT_OF(files); i++)
    if (text_is(file, length, files[i])) return true;
  return false;
}

static struct lead follow(const struct names *names, const struct node *from, const char *target) {
  AUTO_BUFFER rest = {0};
  buffer_text(&rest, target);
  struct lead lead = {.absolute = target[0] == '/'};
  const struct node *node = lead.absolute ? names->tree.root : from;
  size_t at = 0;
  for (int hops = 0;;) {
    at += strspn(rest.at + at, "/");
    size_t length = strcspn(rest.at + at, "/");
    if (length == 0) break;
    const char *part = rest.at + at;
    at += length;
    if (text_is(part, length, ".")) continue;
    if (text_is(part, length, "..")) {
      if (node->parent != NULL) node = node->parent;
      continue;
    }
    const struct node *child = tree_child(&names->tree, node, part, length);
    const struct name *name = (const struct name *)(const void *)child;
    if (name == NULL || (!name->written && child->first == NULL)) {
      lead.of_node = is_of_node(node, part, length);
      lead.left_out = name != NULL;
      return lead;
    }
    if (name->target == NULL) {
      node = child;
      continue;
    }
    if (++hops > HOPS) return lead;
    AUTO_BUFFER led = {0};
    buffer_text(&led, name->target);
    buffer_byte(&led, '/');
    buffer_text(&led, rest.at + at);
    if (name->target[0] == '/') node = names->tree.root, lead.absolute = true;
    buffer_free(&rest);
    rest = (struct buffer){steal(&led.at), led.length, led.room};
    at = 0;
  }
  lead.end = (const struct name *)(const void *)node;
  return lead;
}

const struct name *names_follow(const struct names *names, const char *path) {
  return follow(names, names->tree.root, path).end;
}

// A relative link to what the tree never held is as it was.
void names_tell_dangling(const struct names *names, struct report *report) {
  CLEANUP(path_free) struct path path = {0};
  for (const struct name *link = names->first_link; link != NULL; link = link->next_link) {
    if (link->target == NULL) continue;
    struct lead lead = follow(names, link->node.parent, link->target);
    if (lead.end != NULL || lead.of_node || !(lead.absolute || lead.left_out)) continue;
    tree_path(&link->node, &path);
    report_note(report, NOTE_DANGLING, path.text.at, link->target);
  }
}
