// Files of the container that are made for it; above all those of its /etc, which come from the site and the host, never from the image.
#pragma once
#include "policy/account.h"
#include "policy/config.h"

struct made_file {
  char *name;
  unsigned mode;
  struct buffer content;
};

struct made_files {
  struct made_file *items;
  size_t count;
};
// A file of that name, empty at first.
struct made_file *made_files_add(struct made_files *files, const char *name);
// Writes them into a directory that no other process can change, replacing names and never following links.
bool made_files_write(const struct made_files *files, const char *where, int directory, struct failure *why) MUST_USE;
void made_files_free(struct made_files *files);

bool etc_files_collect(const struct config *config, const struct accounts *accounts, const struct identity *who, struct made_files *files,
                       struct failure *why) MUST_USE;
// As made_files_write; /etc/mtab too.
bool etc_files_write(const struct made_files *files, int directory, struct failure *why) MUST_USE;
