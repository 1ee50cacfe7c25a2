// Who calls, and opening files as someone else.
#pragma once
#include "policy/image_facts.h"

// The caller, once and from the kernel.
bool identity_of_caller(struct identity *who, struct failure *why) MUST_USE;
// This process's supplementary groups.
bool groups_take(struct ids *groups) MUST_USE;
bool groups_set(const struct ids *groups) MUST_USE;
// What the kernel says now: these supplementary groups; these as real, effective and saved ids.
bool groups_are(const struct ids *groups) MUST_USE;
bool ids_are(const struct identity *who) MUST_USE;
// Real, effective and saved ids all root, no supplementary groups.
bool become_root(struct failure *why) MUST_USE;
// From here on files are opened with the rights of `who`, until file_identity_root. Both read back what they set.
bool file_identity_set(const struct identity *who, struct failure *why) MUST_USE;
// Never fails: there is nothing sensible to do as a half-changed process, so it ends.
void file_identity_root(void);
