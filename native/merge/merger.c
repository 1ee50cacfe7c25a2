#include "merge/merger.h"

#include <stdlib.h>
#include <string.h>

#include "merge/policy.h"
#include "merge/tree.h"

#define NEVER (-1)
#define IMPLIED_MODE 0755
#define ATTRIBUTES_MOST 100    // the reader refuses more
#define ATTRIBUTES_BYTES 60000 // of one entry: the packer takes pax headers of up to 64 KiB

// What the layer being read last said of a name.
enum said {
  SAID_NOTHING,
  SAID_DIRECTORY,
  SAID_WRITTEN, // a file that was written, under this name or under `origin`
  SAID_HIDDEN,  // a file that newer layers hide
  SAID_DROPPED, // a device or FIFO, left out by policy
  SAID_WAITING, // a hard link whose target waits in a lower layer
};

// What was written for a name.
enum written {
  WRITTEN_NOTHING,
  WRITTEN_IMPLIED, // as a directory, because something lies below it
  WRITTEN_DIRECTORY,
  WRITTEN_FILE,
};

struct name {
  struct node node;
  int hidden; // layers below this one have nothing at and below the name
  int opaque; // layers below this one have nothing below the name
  int layer;  // that last stated the name, and what it said:
  int below;  // layer that last stated something below the name
  uint32_t children; // names directly below it
  uint8_t said, type, written;
  unsigned char inode[CONTENTS_INODE]; // of a file that was written, while contents are counted
  struct name *origin;  // the name that holds the content of what this layer said, when it is another
  struct waiting *wait; // of a link that waits
};

// Hard links that wait for their target in a lower layer.
struct waiting {
  struct waiting *next_of_target, *next;
  const char *target;
  size_t length;
  struct words names; // claimed for it
  int layer;          // of the links
  bool claimed;
};

// The two oldest layers so far that hid a name, while links wait.
struct hide {
  int last, before;
};

struct merger {
  struct merge_limits limits;
  struct writer *writer;
  struct contents *contents; // NULL: nobody asks
  struct arena arena;
  struct tree tree;
  int layer, fault_layer;
  const struct plan *plan;
  size_t number;
  uint64_t entries, bytes, inodes, dropped, remembered;
  uint64_t most, layer_bytes; // of this layer's files
  struct table waiting; // struct waiting by target
  struct waiting *all, **all_end;
  size_t waiting_count;
  bool links_wait;    // since before this layer
  struct table hides; // struct hide by name; kept only while links wait
  struct arena hides_arena;
  struct path path, target, other;
  struct failure *why;
};

static struct name *name_of(struct node *node) {
  return (struct name *)node;
}

// A new node holds zeros, and layers count from 0: -1 is stored as 0.
static int layer_of(int stored) {
  return stored - 1;
}
static int stored(int layer) {
  return layer + 1;
}
static void raise_to(int *mark, int layer) {
  if (layer_of(*mark) < layer) *mark = stored(layer);
}
static bool is_above(const struct merger *m, int mark) { // a newer layer said so
  return layer_of(mark) > m->layer;
}
static bool is_own(const struct merger *m, const struct name *name) {
  return layer_of(name->layer) == m->layer;
}

struct merger *merger_open(const struct merge_limits *limits, struct writer *writer, uint64_t key) {
  struct merger *m = memory_get(1, sizeof *m);
  m->limits = *limits;
  m->writer = writer;
  m->inodes = 1;
  m->waiting.key = m->hides.key = key;
  m->all_end = &m->all;
  tree_open(&m->tree, sizeof(struct name), &m->arena, key);
  return m;
}

void merger_count(struct merger *m, struct contents *contents) {
  m->contents = contents;
}

void merger_close(struct merger **merger) {
  struct merger *m = *merger;
  if (m == NULL) return;
  for (struct waiting *each = m->all; each != NULL; each = each->next) words_free(&each->names);
  table_free(&m->waiting);
  table_free(&m->hides);
  arena_free(&m->hides_arena);
  tree_close(&m->tree);
  arena_free(&m->arena);
  path_free(&m->path);
  path_free(&m->target);
  path_free(&m->other);
  free(m);
  *merger = NULL;
}

static enum merge_result refuse(const struct merger *m, const struct path *path, const char *what) {
  tar_fault(m->why, path->text.at == NULL ? "" : path->text.at, path->text.length, "%s", what);
  return MERGE_FAULT;
}

int merger_fault_layer(const struct merger *m) {
  return m->fault_layer;
}

// Names that are copied rather than shared with the tree could grow with the square of what a layer holds.
static enum merge_result remember(struct merger *m, const struct path *path, size_t length) {
  m->remembered += length;
  if (m->remembered <= m->limits.remembered) return MERGE_OK;
  tar_fault(m->why, path->text.at, path->text.length, "with it more than %llu bytes of names wait for the targets of hard links",
    (unsigned long long)m->limits.remembered);
  m->why->code = ERROR_LIMIT_EXCEEDED;
  return MERGE_FAULT;
}

static enum merge_result no_target(const struct merger *m, const char *name, const char *target) {
  tar_fault(m->why, name, strlen(name), "it is a hard link to \"%.100s\", which is not there", target);
  return MERGE_FAULT;
}

static enum merge_result missing_target(struct merger *m, const struct waiting *wait) {
  m->fault_layer = wait->layer;
  return no_target(m, wait->names.items[0], wait->target);
}

// --- output --------------------------------------------------------------------------------------------------------------------

static enum merge_result put(bool written) {
  return written ? MERGE_OK : MERGE_OUTPUT_ENDED;
}

// Only what policy keeps, in the order of their names: the same attributes give the same bytes.
static bool kept_attributes(const struct merger *m, const struct tar_entry *entry, struct tar_attribute *kept, size_t *kept_count) {
  size_t count = 0, bytes = 0;
  for (size_t i = 0; i < entry->attribute_count; i++) {
    if (!is_kept_attribute(&entry->attributes[i])) continue;
    bytes += entry->attributes[i].name_length + entry->attributes[i].value_length;
    if (entry->attributes[i].name_length > 255 || bytes > ATTRIBUTES_BYTES) {
      tar_fault(m->why, entry->name, entry->name_length, "its extended attributes have names of more than 255 bytes, or more than %d bytes together",
        ATTRIBUTES_BYTES);
      m->why->code = ERROR_LIMIT_EXCEEDED;
      return false;
    }
    size_t at = count++;
    for (; at > 0 && strcmp(kept[at - 1].name, entry->attributes[i].name) > 0; at--) kept[at] = kept[at - 1];
    kept[at] = entry->attributes[i];
  }
  *kept_count = count;
  return true;
}

static void count_name(const struct merger *m, const char *path, size_t length, const unsigned char *inode) {
  if (m->contents != NULL) contents_name(m->contents, path, length, inode);
}

static void count_directory(const struct merger *m, const char *path, size_t length, const struct tar_entry *entry) {
  if (m->contents == NULL) return;
  unsigned char inode[CONTENTS_INODE];
  contents_begin(m->contents, entry);
  contents_end(m->contents, inode);
  contents_name(m->contents, path, length, inode);
}

static enum merge_result put_directory(struct merger *m, const char *path, size_t length, const struct tar_entry *entry) {
  AUTO_BUFFER name = {0};
  buffer_add(&name, length == 0 ? "." : path, length == 0 ? 1 : length);
  buffer_byte(&name, '/');
  struct tar_attribute kept[ATTRIBUTES_MOST];
  struct tar_entry out = {.name = name.at, .name_length = name.length, .type = TAR_DIRECTORY, .mode = kept_mode(entry->mode), .mtime = kept_time(entry->mtime),
    .attributes = kept};
  if (!kept_attributes(m, entry, kept, &out.attribute_count)) return MERGE_FAULT;
  count_directory(m, path, length, &out);
  return put(writer_header(m->writer, &out));
}

static enum merge_result put_links(struct merger *m, const char *origin, const struct name *target, char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct tar_entry entry = {.name = names[i], .name_length = strlen(names[i]), .type = TAR_LINK, .mode = 0644, .link = origin,
      .link_length = strlen(origin)};
    count_name(m, names[i], entry.name_length, target->inode);
    if (!writer_header(m->writer, &entry)) return MERGE_OUTPUT_ENDED;
  }
  return MERGE_OK;
}

static enum merge_result put_content(struct merger *m, struct tar_reader *reader) {
  for (;;) {
    const unsigned char *at;
    uint64_t length;
    if (!tar_content(reader, &at, &length, m->why)) return MERGE_FAULT;
    if (length == 0) return put(writer_content_end(m->writer));
    if (m->contents != NULL) contents_piece(m->contents, at, length);
    if (!writer_content(m->writer, at, length)) return MERGE_OUTPUT_ENDED;
  }
}

// --- the tree of names -----------------------------------------------------------------------------------------------------------

static enum merge_result crowded(const struct merger *m, const struct path *path) {
  tar_fault(m->why, path->text.at, path->text.length, "with it a directory of its path has more than %llu names", (unsigned long long)m->limits.directory);
  m->why->code = ERROR_LIMIT_EXCEEDED;
  return MERGE_FAULT;
}

// The node of a name, made if need be; NULL below a name that newer layers hide. With `implies`, something is stated there: the parents
// exist as directories, even when the name itself turns out to be hidden.
static enum merge_result walk(struct merger *m, const struct path *path, bool implies, struct name **found) {
  struct name *name = name_of(m->tree.root);
  *found = NULL;
  for (size_t i = 0; i < path->count; i++) {
    if (implies) name->below = stored(m->layer);
    if (i > 0) {
      if (is_own(m, name) && name->type != TAR_DIRECTORY && m->plan == NULL) {
        through_fault(m->why, path, i, (enum tar_type)name->type);
        return MERGE_FAULT;
      }
      if (is_above(m, name->hidden)) return MERGE_OK;
      if (implies && name->written == WRITTEN_NOTHING) {
        name->written = WRITTEN_IMPLIED;
        m->inodes++;
      }
    }
    if (is_above(m, name->opaque)) return MERGE_OK;
    size_t length;
    const char *part = path_component(path, i, &length);
    struct name *parent = name;
    size_t count = m->tree.count;
    name = name_of(tree_make(&m->tree, &parent->node, part, length));
    if (m->tree.count > count && ++parent->children > m->limits.directory) return crowded(m, path);
  }
  *found = name;
  return MERGE_OK;
}

static struct name *find(const struct merger *m, const struct path *path) {
  return name_of(tree_find(&m->tree, path));
}

static enum merge_result note_hidden(struct merger *m, const struct path *path) {
  if (!m->links_wait) return MERGE_OK;
  const char *text = path->text.at;
  size_t length = path->text.length;
  void **slot = table_find(&m->hides, text, length);
  if (slot == NULL) {
    enum merge_result result = remember(m, path, length + sizeof(struct hide));
    if (result != MERGE_OK) return result;
    slot = table_put(&m->hides, arena_copy(&m->hides_arena, text, length), length);
    *slot = arena_get(&m->hides_arena, sizeof(struct hide));
  }
  struct hide *hide = *slot;
  if (hide->last != stored(m->layer)) *hide = (struct hide){.last = stored(m->layer), .before = hide->last};
  return MERGE_OK;
}

static bool is_hidden_between(const struct merger *m, const char *at, size_t length, int newer) {
  void **slot = table_find(&m->hides, at, length);
  if (slot == NULL) return false;
  const struct hide *hide = *slot;
  int oldest = hide->last == stored(m->layer) ? hide->before : hide->last;
  return oldest != 0 && layer_of(oldest) < newer;
}

// Whether a layer between the links and the one being read hid their target or a parent of it.
static bool is_target_hidden(const struct merger *m, const struct waiting *wait) {
  if (m->hides.count == 0) return false;
  for (size_t length = wait->length; length > 0; length--) {
    bool whole = length == wait->length || wait->target[length] == '/';
    if (whole && is_hidden_between(m, wait->target, length, wait->layer)) return true;
  }
  return is_hidden_between(m, "", 0, wait->layer); // the root was made opaque
}

// States a name that is no directory. Whether it is free to be written: not hidden, and nothing newer stands there.
static enum merge_result state(struct merger *m, const struct path *path, enum tar_type type, enum said as, bool *free_to_write) {
  *free_to_write = false;
  struct name *name;
  enum merge_result result = note_hidden(m, path);
  if (result == MERGE_OK) result = walk(m, path, true, &name);
  if (result != MERGE_OK || name == NULL) return result;
  bool repeated = is_own(m, name) && name->said != SAID_NOTHING, replaces = layer_of(name->below) == m->layer;
  if (m->plan == NULL && (repeated || replaces)) return MERGE_PLAN_NEEDED;
  bool is_free = !is_above(m, name->hidden) && name->written == WRITTEN_NOTHING;
  name->layer = stored(m->layer);
  name->type = (uint8_t)type;
  name->origin = NULL;
  name->wait = NULL;
  name->said = (uint8_t)(as != SAID_NOTHING ? as : is_free ? SAID_WRITTEN : SAID_HIDDEN);
  raise_to(&name->hidden, m->layer);
  if (is_free && as != SAID_DROPPED) name->written = WRITTEN_FILE;
  *free_to_write = is_free;
  return MERGE_OK;
}

// Sets what became of a name that this layer stated. In a planned layer nobody asks: its links were resolved beforehand.
static void mark(const struct merger *m, const struct path *path, enum said said, struct name *origin, struct waiting *wait) {
  struct name *name = m->plan != NULL ? NULL : find(m, path);
  if (name == NULL || !is_own(m, name)) return;
  name->said = (uint8_t)said;
  name->origin = origin;
  name->wait = wait;
}

// Whether a whiteout or opaque mark of this layer, so far, removes a name of lower layers.
static bool is_removed_here(const struct merger *m, const struct path *path) {
  const struct name *name = name_of(m->tree.root);
  for (size_t i = 0; i < path->count; i++) {
    if (layer_of(name->opaque) == m->layer) return true;
    size_t length;
    const char *part = path_component(path, i, &length);
    name = name_of(tree_child(&m->tree, &name->node, part, length));
    if (name == NULL) return false;
    if (layer_of(name->hidden) == m->layer && !is_own(m, name)) return true;
  }
  return false;
}

static bool is_under_hidden(const struct merger *m, const struct path *path) {
  const struct name *name = name_of(m->tree.root);
  for (size_t i = 0; i < path->count; i++) {
    if (is_above(m, name->hidden) || is_above(m, name->opaque)) return true;
    size_t length;
    const char *part = path_component(path, i, &length);
    name = name_of(tree_child(&m->tree, &name->node, part, length));
    if (name == NULL) return false;
  }
  return false;
}

// The names of newer layers that wait for this one are added; they wait no more.
static enum merge_result claim(struct merger *m, const struct path *path, struct words *names) {
  if (m->waiting_count == 0) return MERGE_OK;
  void **slot = table_find(&m->waiting, path->text.at, path->text.length);
  if (slot == NULL) return MERGE_OK;
  struct waiting *own = NULL;
  for (struct waiting *each = *slot, *next; each != NULL; each = next) {
    next = each->next_of_target;
    if (each->layer == m->layer) {
      each->next_of_target = own;
      own = each;
      continue;
    }
    if (is_target_hidden(m, each)) return missing_target(m, each);
    for (size_t i = 0; i < each->names.count; i++) words_add_text(names, each->names.items[i]);
    words_free(&each->names);
    each->claimed = true;
    m->waiting_count--;
  }
  *slot = own;
  return MERGE_OK;
}

// --- statements ------------------------------------------------------------------------------------------------------------------

static bool is_planned_away(const struct merger *m) {
  return m->plan != NULL && plan_names(m->plan, m->number) == 0;
}

static enum merge_result root(struct merger *m, const struct tar_entry *entry) {
  struct name *name = name_of(m->tree.root);
  if (entry->type != TAR_DIRECTORY) {
    tar_fault(m->why, entry->name, entry->name_length, "the root is stated as a %s", tar_type_name(entry->type));
    return MERGE_FAULT;
  }
  if (is_own(m, name) && m->plan == NULL) return MERGE_PLAN_NEEDED;
  name->layer = stored(m->layer);
  name->type = TAR_DIRECTORY;
  if (name->written == WRITTEN_DIRECTORY || is_planned_away(m)) return MERGE_OK;
  name->written = WRITTEN_DIRECTORY;
  return put_directory(m, "", 0, entry);
}

// Refuses what lies below a file of this layer, in the entry's own words: a whiteout is looked up under another name.
static enum merge_result below_no_file(const struct merger *m, const struct path *path) {
  const struct name *name = name_of(m->tree.root);
  for (size_t i = 0; i + 1 < path->count; i++) {
    size_t length;
    const char *part = path_component(path, i, &length);
    name = name_of(tree_child(&m->tree, &name->node, part, length));
    if (name == NULL) return MERGE_OK;
    if (!is_own(m, name) || name->type == TAR_DIRECTORY) continue;
    through_fault(m->why, path, i + 1, (enum tar_type)name->type);
    return MERGE_FAULT;
  }
  return MERGE_OK;
}

static enum merge_result hide(struct merger *m, struct path *path, bool opaque) {
  // With a plan this was seen beforehand, and what the tree holds is how the layer ends.
  enum merge_result result = m->plan == NULL ? below_no_file(m, path) : MERGE_OK;
  if (result != MERGE_OK) return result;
  if (opaque) {
    path_cut(path, path->count - 1);
  } else {
    size_t length;
    AUTO_BUFFER target = {0};
    const char *part = path_component(path, path->count - 1, &length);
    buffer_add(&target, part + WHITEOUT_PREFIX_LENGTH, length - WHITEOUT_PREFIX_LENGTH);
    path_cut(path, path->count - 1);
    path_add(path, target.at, target.length);
  }
  // A whiteout may stand where nothing else was said: it states nothing itself.
  struct name *name;
  result = note_hidden(m, path);
  if (result == MERGE_OK) result = walk(m, path, false, &name);
  if (result == MERGE_OK && name != NULL) raise_to(opaque ? &name->opaque : &name->hidden, m->layer);
  return result;
}

static enum merge_result directory(struct merger *m, const struct path *path, const struct tar_entry *entry) {
  if (is_planned_away(m)) return MERGE_OK;
  struct name *name;
  enum merge_result result = walk(m, path, true, &name);
  if (result != MERGE_OK || name == NULL) return result;
  if (is_own(m, name) && name->said != SAID_NOTHING && m->plan == NULL) return MERGE_PLAN_NEEDED;
  CLEANUP(words_free) struct words claimed = {0};
  result = claim(m, path, &claimed);
  if (result != MERGE_OK) return result;
  if (claimed.count > 0) return refuse(m, path, "a newer layer has a hard link to this directory");
  name->layer = stored(m->layer);
  name->said = SAID_DIRECTORY;
  name->type = TAR_DIRECTORY;
  if (is_above(m, name->hidden) || name->written == WRITTEN_DIRECTORY || name->written == WRITTEN_FILE) return MERGE_OK;
  if (name->written == WRITTEN_NOTHING) m->inodes++;
  name->written = WRITTEN_DIRECTORY;
  return put_directory(m, path->text.at, path->text.length, entry);
}

// States every name that the entry has, by the plan or its own. Gives those that are free, with what newer layers wait for.
static enum merge_result state_all(struct merger *m, const struct path *path, enum tar_type type, enum said as, struct words *freed) {
  const struct planned *planned = m->plan == NULL ? NULL : plan_name(m->plan, m->number, NULL, &m->other);
  do {
    const struct path *each = m->plan == NULL ? path : &m->other;
    bool is_free;
    enum merge_result result = state(m, each, type, as, &is_free);
    if (result != MERGE_OK) return result;
    if (is_free) words_add(freed, each->text.at, each->text.length);
    result = claim(m, each, freed);
    if (result != MERGE_OK) return result;
    if (m->plan != NULL) planned = plan_name(m->plan, m->number, planned, &m->other);
  } while (planned != NULL);
  return MERGE_OK;
}

static enum merge_result file(struct merger *m, const struct path *path, const struct tar_entry *entry, struct tar_reader *reader) {
  bool kept = is_kept(entry->type);
  if (!kept) m->dropped++;
  if (is_planned_away(m)) return MERGE_OK;
  CLEANUP(words_free) struct words freed = {0};
  enum merge_result result = state_all(m, path, entry->type, kept ? SAID_NOTHING : SAID_DROPPED, &freed);
  if (result != MERGE_OK || !kept || freed.count == 0) return result;
  const char *first = freed.items[0];
  path_set(&m->other, first, strlen(first));
  struct name *origin = find(m, &m->other);
  if (strcmp(first, path->text.at) != 0) mark(m, path, SAID_WRITTEN, origin, NULL); // written for a newer layer's link alone
  m->inodes++;
  struct tar_attribute attributes[ATTRIBUTES_MOST];
  struct tar_entry out = {.name = first, .name_length = strlen(first), .type = entry->type, .mode = kept_mode(entry->mode), .size = entry->size,
    .mtime = kept_time(entry->mtime), .attributes = attributes};
  if (entry->type == TAR_SYMLINK) {
    out.link = entry->link;
    out.link_length = entry->link_length;
  } else if (!kept_attributes(m, entry, attributes, &out.attribute_count)) { // the kernel has no user.* attributes for links
    return MERGE_FAULT;
  }
  if (!writer_header(m->writer, &out)) return MERGE_OUTPUT_ENDED;
  if (m->contents != NULL) contents_begin(m->contents, &out);
  if (entry->type == TAR_REGULAR) result = put_content(m, reader);
  if (result != MERGE_OK) return result;
  if (m->contents != NULL) contents_end(m->contents, origin->inode);
  count_name(m, first, out.name_length, origin->inode);
  return put_links(m, first, origin, freed.items + 1, freed.count - 1);
}

static enum merge_result wait_with(struct merger *m, const struct path *path, struct waiting *wait, const struct words *names) {
  for (size_t i = 0; i < names->count; i++) {
    enum merge_result result = remember(m, path, strlen(names->items[i]));
    if (result != MERGE_OK) return result;
    words_add_text(&wait->names, names->items[i]);
  }
  mark(m, path, SAID_WAITING, NULL, wait);
  return MERGE_OK;
}

static enum merge_result wait_for(struct merger *m, const struct path *path, const struct words *names) {
  const char *target = m->target.text.at;
  size_t length = m->target.text.length;
  void **slot = table_find(&m->waiting, target, length);
  if (slot == NULL) {
    enum merge_result result = remember(m, path, length);
    if (result != MERGE_OK) return result;
    target = arena_copy(&m->arena, target, length);
    slot = table_put(&m->waiting, target, length);
  }
  struct waiting *own = *slot;
  if (own == NULL || own->layer != m->layer) {
    enum merge_result result = remember(m, path, length);
    if (result != MERGE_OK) return result;
    own = arena_get(&m->arena, sizeof *own);
    *own = (struct waiting){.target = arena_copy(&m->arena, m->target.text.at, length), .length = length, .layer = m->layer, .next_of_target = *slot};
    *slot = own;
    *m->all_end = own;
    m->all_end = &own->next;
    m->waiting_count++;
  }
  return wait_with(m, path, own, names);
}

// Makes names hard links to m->target, of this layer or a lower one.
static enum merge_result link_names(struct merger *m, const struct path *path, const struct words *names) {
  struct name *target = find(m, &m->target);
  if (target != NULL && is_own(m, target) && m->plan == NULL) {
    switch ((enum said)target->said) {
      case SAID_WRITTEN: {
        struct name *origin = target->origin != NULL ? target->origin : target;
        mark(m, path, SAID_WRITTEN, origin, NULL);
        tree_path(&origin->node, &m->other);
        return put_links(m, m->other.text.at, origin, names->items, names->count);
      }
      case SAID_DIRECTORY: return refuse(m, path, "it is a hard link to a directory");
      case SAID_HIDDEN: return MERGE_PLAN_NEEDED; // the content has passed by: nobody knew that it would be wanted
      case SAID_DROPPED: mark(m, path, SAID_DROPPED, NULL, NULL); return MERGE_OK;
      case SAID_WAITING:
        if (target->wait == NULL || target->wait->claimed) return MERGE_PLAN_NEEDED;
        return wait_with(m, path, target->wait, names);
      case SAID_NOTHING: break;
    }
  }
  // Below a name that newer layers hide nothing is remembered, so the target may lie in this very layer; a node there is of newer layers.
  if (m->plan == NULL && is_under_hidden(m, &m->target)) return MERGE_PLAN_NEEDED;
  if (is_removed_here(m, &m->target)) return no_target(m, names->items[0], m->target.text.at);
  return wait_for(m, path, names);
}

static enum merge_result hard_link(struct merger *m, const struct path *path, const struct tar_entry *entry) {
  if (!path_read(&m->target, entry->link, entry->link_length, &m->limits.path, entry, "the target of this hard link", m->why)) return MERGE_FAULT;
  if (m->target.count == 0) return refuse(m, path, "it is a hard link to a directory");
  if (m->target.text.length == path->text.length && memcmp(m->target.text.at, path->text.at, path->text.length) == 0)
    return refuse(m, path, "it is a hard link to itself");
  // In a planned layer the links to its own files were resolved beforehand; what has a name left points to a lower layer.
  if (is_planned_away(m)) return MERGE_OK;
  CLEANUP(words_free) struct words claimed = {0};
  enum merge_result result = state_all(m, path, TAR_LINK, SAID_WAITING, &claimed);
  if (result != MERGE_OK) return result;
  if (claimed.count > 0) return link_names(m, path, &claimed);
  mark(m, path, SAID_HIDDEN, NULL, NULL);
  return MERGE_OK;
}

static enum merge_result over(const struct merger *m, const struct tar_entry *entry, const char *which, uint64_t limit, const char *what) {
  tar_fault(m->why, entry->name, entry->name_length, "with it the %s more than %llu %s", which, (unsigned long long)limit, what);
  m->why->code = ERROR_LIMIT_EXCEEDED;
  return MERGE_FAULT;
}

static enum merge_result take(struct merger *m, const struct tar_entry *entry, struct tar_reader *reader) {
  enum whiteout whiteout;
  if (++m->entries > m->limits.entries) return over(m, entry, "image has", m->limits.entries, "entries");
  if (entry->size > m->limits.bytes - m->bytes) return over(m, entry, "image has", m->limits.bytes, "bytes");
  if (entry->size > m->most - m->layer_bytes) return over(m, entry, "layer's files have", m->most, "bytes, too many for what it was sent as");
  m->bytes += entry->size;
  m->layer_bytes += entry->size;
  struct path *path = &m->path;
  if (!path_read(path, entry->name, entry->name_length, &m->limits.path, entry, "its name", m->why) || !path_whiteout(path, &whiteout, m->why))
    return MERGE_FAULT;
  if (whiteout == WHITEOUT_METADATA) return MERGE_OK;
  if (whiteout != WHITEOUT_NONE) return hide(m, path, whiteout == WHITEOUT_OPAQUE);
  if (path->count == 0) return root(m, entry);
  if (entry->type == TAR_DIRECTORY) return directory(m, path, entry);
  if (entry->type == TAR_SYMLINK && (entry->link_length == 0 || entry->link_length > 4095))
    return refuse(m, path, "it is a symbolic link to nothing, or to more than 4,095 bytes");
  return entry->type == TAR_LINK ? hard_link(m, path, entry) : file(m, path, entry, reader);
}

// --- layers ----------------------------------------------------------------------------------------------------------------------

// What still waits when all layers have been read has no target.
static enum merge_result end_layer(struct merger *m) {
  if (m->layer > 0 || m->waiting_count == 0) return MERGE_OK;
  const struct waiting *wait = m->all;
  while (wait->claimed) wait = wait->next;
  return missing_target(m, wait);
}

static void cleanup_reader(struct tar_reader **reader) {
  tar_close(reader);
}

enum merge_result merger_layer(struct merger *m, int layer, uint64_t most, const struct plan *plan, struct tar_input input, struct failure *why) {
  m->layer = m->fault_layer = layer;
  m->most = most;
  m->layer_bytes = 0;
  m->plan = plan;
  m->why = why;
  m->links_wait = m->waiting_count > 0;
  if (!m->links_wait) {
    table_free(&m->hides);
    arena_free(&m->hides_arena);
  }
  CLEANUP(cleanup_reader) struct tar_reader *reader = tar_open(input);
  for (m->number = 0;; m->number++) {
    const struct tar_entry *entry;
    enum tar_step step = tar_next(reader, &entry, why);
    if (step == TAR_FAULT) return MERGE_FAULT;
    if (step == TAR_END) return end_layer(m);
    enum merge_result result = take(m, entry, reader);
    if (result == MERGE_OK && m->tree.count > m->limits.path.names && !too_many_names(why, entry, &m->limits.path)) result = MERGE_FAULT;
    if (result != MERGE_OK) return result;
  }
}

static const struct tar_entry implied = {.type = TAR_DIRECTORY, .mode = IMPLIED_MODE};

static enum merge_result put_implied(struct merger *m, const struct node *node, struct path *path) {
  for (struct node *each = node->first; each != NULL; each = each->next) {
    size_t depth = path->count;
    path_add(path, each->name, each->length);
    enum merge_result result = MERGE_OK;
    if (name_of(each)->written == WRITTEN_IMPLIED) result = put_directory(m, path->text.at, path->text.length, &implied);
    if (result == MERGE_OK && each->first != NULL) result = put_implied(m, each, path);
    if (result != MERGE_OK) return result;
    path_cut(path, depth);
  }
  return MERGE_OK;
}

enum merge_result merger_end(struct merger *m, struct merge_summary *summary) {
  path_cut(&m->path, 0);
  // A root that no layer states is not written: the packer makes the same.
  if (name_of(m->tree.root)->written != WRITTEN_DIRECTORY) count_directory(m, "", 0, &implied);
  enum merge_result result = put_implied(m, m->tree.root, &m->path);
  if (result == MERGE_OK && !writer_end(m->writer)) result = MERGE_OUTPUT_ENDED;
  *summary = (struct merge_summary){m->inodes, m->dropped};
  return result;
}
