// The files of the container's /etc that come from the site and the host, never from the image.
#pragma once
#include "policy/account.h"
#include "policy/config.h"

struct etc_file {
  char *name;
  unsigned mode;
  struct buffer content;
};

struct etc_files {
  struct etc_file *items;
  size_t count;
};

bool etc_files_collect(const struct config *config, const struct accounts *accounts, const struct identity *who, struct etc_files *files,
                       struct failure *why) MUST_USE;
// Writes them into a directory that no other process can change, replacing names and never following links; /etc/mtab too.
bool etc_files_write(const struct etc_files *files, int directory, struct failure *why) MUST_USE;
void etc_files_free(struct etc_files *files);
