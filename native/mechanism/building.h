// What the files that build a root share: root.c directs, places.c finds places inside, volumes.c adds the user's volumes.
#pragma once
#include <linux/openat2.h>

#include "mechanism/mounts.h"
#include "mechanism/open.h"
#include "mechanism/plan.h"

#define SAFE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
#define INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

// Something that is shown inside, cloned before it is attached. Kinds are attached in this order.
enum tree_kind { TREE_SHARED, TREE_SITE, TREE_OPT, TREE_MODULE, TREE_SYSTEM, TREE_BELOW_SYSTEM, TREE_HOME, TREE_USER };
struct tree {
  enum tree_kind kind;
  int fd;
  char *to;
  bool directory;
  const struct module *module; // whose it is, or NULL
};

struct trees {
  struct tree *items;
  size_t count;
};
void trees_add(struct trees *trees, struct tree tree, const char *to);
void trees_free(struct trees *trees);

// A directory or file as one mount shows it. The same one under another mount is another place.
struct place {
  uint64_t mount, inode;
  uint32_t major, minor;
  bool directory;
};

struct root {
  const struct root_plan *plan;
  int scratch;    // the private tmpfs
  int fd;         // the root that is built
  int etc;        // its /etc
  struct place etc_places[16]; // with the directories above
  size_t etc_count;
  uint64_t mount; // its id
  uint64_t propagation; // of what is shown of the host, unless a volume says otherwise
  bool growable;  // mount points can be made: an overlay of ours, not a directory of the host
  struct trees trees;
};

// --- places.c ---
bool note_mount(struct root *root, struct failure *why) MUST_USE;
bool on_root_mount(const struct root *root, int fd);
// The directory (or file) a path means inside, links of the image resolved inside. What is missing is made, but only in our own
// overlay: a link that leads into something of the host makes nothing there. -1 with errno.
int inside_directory(const struct root *root, const char *path) MUST_USE;
int inside_file(const struct root *root, const char *path) MUST_USE;
// /proc, /sys and /dev: a real directory of the image, or made here.
int system_directory(const struct root *root, const char *path) MUST_USE;

// --- volumes.c ---
// Notes /etc (where there is one) and the directories above it; false when there are too many.
bool note_etc(struct root *root) MUST_USE;
// Whether a target is one of them.
bool hides_etc(const struct root *root, int target);
// Before: everything else is attached. After: the user's volumes are, each from and to a place that he can reach himself and that
// neither the runtime nor the site fills.
bool attach_user_volumes(const struct root *root, struct failure *why) MUST_USE;
