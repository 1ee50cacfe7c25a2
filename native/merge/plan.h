// A look ahead at one layer. A layer is applied in the order of its entries, so a later entry can replace an earlier one of the same layer,
// and a hard link can keep what a name has lost. Layers of ordinary tools never do that within what stays visible; when one does, the
// merger asks for plans and is started anew.
#pragma once
#include "merge/path.h"

struct plan;
// Reads the archive to its end. No more entries than names.
struct plan *plan_make(struct tar_input input, const struct path_limits *limits, uint64_t key, struct failure *why) MUST_USE;
void plan_free(struct plan **plan);

// The names under which an entry, by its number in the layer, is found when the layer has been applied, in the order in which they were
// stated. None: it said nothing, or a later entry replaced it.
size_t plan_names(const struct plan *plan, size_t entry);
struct planned;
// One of them after the other, beginning with NULL and ending with it.
const struct planned *plan_name(const struct plan *plan, size_t entry, const struct planned *before, struct path *path);

// "it lies below PARENT, which this layer makes a symbolic link". Always false.
bool through_fault(struct failure *why, const struct path *path, size_t parent, enum tar_type type);
