// Merges layers, newest to oldest, into one tar stream. Nothing is unpacked and no path of a layer is opened: a tree of names remembers
// what newer layers said, and every surviving entry is written once.
//
// What a layer says of a name holds for the layers below it, never for the layer itself: a whiteout hides the name and everything below
// it, an opaque mark everything below its directory, and a file hides what older layers have at and below its name. A directory stated by
// several layers has the attributes of the newest.
//
// Two things need more than one look. A hard link to a file of a lower layer waits until that file comes by. And an entry that a later
// entry of its own layer replaces is known only afterwards: MERGE_PLAN_NEEDED asks for a new start with plans.
//
// https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md
#pragma once
#include "merge/plan.h"
#include "merge/writer.h"

struct merge_limits {
  struct path_limits path;
  uint64_t entries;    // of all layers
  uint64_t bytes;      // of all files of all layers, holes counted
  uint64_t remembered; // bytes of names that are kept apart from the tree, while hard links wait
};

enum merge_result { MERGE_OK, MERGE_FAULT, MERGE_PLAN_NEEDED, MERGE_OUTPUT_ENDED };

struct merge_summary {
  uint64_t inodes;  // of the root file system: a hard-link group counts once
  uint64_t dropped; // device nodes and FIFOs left out by policy
};

struct merger;
struct merger *merger_open(const struct merge_limits *limits, struct writer *writer, uint64_t key) MUST_USE;
void merger_close(struct merger **merger);
// One layer, read to the end of its archive. Numbers fall: the newest comes first, 0 is the oldest. Its files, holes counted, may have
// `most` bytes.
enum merge_result merger_layer(struct merger *merger, int layer, uint64_t most, const struct plan *plan, struct tar_input input,
  struct failure *why) MUST_USE;
// The layer that holds the entry at fault: a hard link that waits may be of a newer one than was read.
int merger_fault_layer(const struct merger *merger);
// After layer 0: the directories that no layer states, and the end mark.
enum merge_result merger_end(struct merger *merger, struct merge_summary *summary) MUST_USE;
