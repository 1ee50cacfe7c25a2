// What a root file system holds, as one number: the same for the tar stream that was written and for the image that was packed from it,
// whatever the order in which their names come. Structure is counted whole, content in full or by a sample.
//
// The number is the sum, modulo 2^256, of a SHA-256 for every name. Who could choose what is summed could make two sums meet; but what is
// compared here is a stream with what this machine's own packer, disk and memory made of it, and an accident does not choose. Names are
// distinct, so that a sum loses nothing that a sorted list would keep, and it needs no list.
//
// Every name of a hard-link group counts with the group's inode, so it does not matter which of them came first. Whether a piece of a file
// is in the sample must then not hang on its name: it hangs on a key made for each pull, the file's size, time and mode, and the place in it.
#pragma once
#include "merge/tar.h"
#include "policy/sha256.h"

struct sample {
  uint64_t every; // one piece of so many: 1 is all of them, 0 none
  uint64_t key;
};
bool sample_parse(struct sample *sample, const char *text) MUST_USE; // EVERY:KEY, the key as 16 hex digits

#define CONTENTS_INODE 16
#define CONTENTS_PIECE ((uint64_t)128 << 10) // what is sampled or not as a whole: the packer's block

struct contents;
struct contents *contents_open(const struct sample *sample) MUST_USE;
void contents_close(struct contents **contents);

// An inode: what it is, a regular file's content in order, and its end. Attributes come sorted by name; the entry's own name has no say.
void contents_begin(struct contents *contents, const struct tar_entry *entry);
void contents_piece(struct contents *contents, const unsigned char *at, uint64_t length); // NULL: zeros, or what the sample leaves out
bool contents_wants(const struct contents *contents, uint64_t length);                    // whether the next bytes are in the sample
void contents_end(struct contents *contents, unsigned char inode[static CONTENTS_INODE]);

// A name of an inode; the root's is empty.
void contents_name(struct contents *contents, const char *path, size_t length, const unsigned char inode[static CONTENTS_INODE]);
void contents_digest(const struct contents *contents, char hex[static SHA256_HEX]);
