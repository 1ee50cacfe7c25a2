// The names of a tree as they came, what became of each, and where its symbolic links lead in it.
#pragma once
#include "merge/tree.h"
#include "tree/elf.h"
#include "tree/report.h"

// A name that was met. What was left out is known too: another name of it goes with it.
struct name {
  struct node node;
  struct name *next_link;
  const char *target; // of a symbolic link, as it is written
  const char *came;   // and as it came
  struct elf_kind kind;
  uint8_t note;       // why it was left out
  bool written, listed, is_directory;
};

struct names {
  struct arena arena;
  struct tree tree;
  struct name *first_link, *last_link; // in the order in which they came
};

void names_open(struct names *names, uint64_t key);
void names_close(struct names *names);
struct name *names_make(struct names *names, const struct path *path); // or the one that is there
const struct name *names_find(const struct names *names, const struct path *path) MUST_USE; // NULL: it was not met
// From now on it is a symbolic link to there.
void names_lead(struct names *names, struct name *name, const char *target, size_t length);
// What an absolute path leads to, links followed as in a root file system. NULL: to nothing.
const struct name *names_follow(const struct names *names, const char *path) MUST_USE;
void names_tell_dangling(const struct names *names, struct report *report);
