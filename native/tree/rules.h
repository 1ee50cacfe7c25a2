// What becomes of each name of a CHOS tree: what belongs to the machine that ran it is left out, its secrets too, and links into the machine
// around it (/local, /chos, /proc/chos/link) lead somewhere again or go. Pure: names and links in, a ruling out.
#pragma once
#include "policy/base.h"

enum tree_note {
  NOTE_NONE,
  // Rules of the tree itself.
  NOTE_PSEUDO,    // another machine's devices, mounts, boot files: the node has its own
  NOTE_SECRET,    // keys and password files
  NOTE_SITE_LINK, // a link of etc into /local: the runtime gives its own file
  NOTE_SITE_DIRECTORY, // a link into /local that became an empty directory
  NOTE_REWRITTEN, // a link through /proc/chos/link or /chos
  NOTE_LOOP,      // a link that would lead to itself without CHOS
  NOTE_DANGLING,  // a link to nothing: an absolute one, or one that led to what is left out
  NOTE_RESERVED,  // a name that stands for a removed file in layers
  NOTE_SPECIAL,   // devices, FIFOs, sockets
  NOTE_LINKED,    // another name of a file that an archive holds under a name that is left out
  // What was found while it was read.
  NOTE_PRIVATE,    // not everyone may read it
  NOTE_UNREADABLE, // everyone may, but for the account that reads
  NOTE_MOUNT,      // another file system
  NOTE_VANISHED,
  NOTE_CHANGED,
  NOTE_COUNT
};
const char *tree_note_name(enum tree_note note);

enum tree_fate {
  TREE_KEEP,
  TREE_DROP,
  TREE_EMPTY,     // a directory without what is in it
  TREE_DIRECTORY, // an empty directory in place of a link
  TREE_LINK,      // the link leads to `link`
};

struct tree_ruling {
  enum tree_fate fate;
  enum tree_note note;
  uint32_t mode;      // of TREE_DIRECTORY
  struct buffer link; // of TREE_LINK
};
#define AUTO_RULING CLEANUP(tree_ruling_free) struct tree_ruling
void tree_ruling_free(struct tree_ruling *ruling);

// `path` is clean: relative, without empty, `.` and `..` components; "" is the tree itself. `target` is a link's, else NULL.
void tree_rule(const char *path, const char *target, struct tree_ruling *ruling);
