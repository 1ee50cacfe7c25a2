// How layers come to the merger. A process of its own opens the files, so that the one which reads what is in them can open nothing.
#pragma once
#include "policy/failure.h"
#include "policy/sha256.h"

struct order {
  uint64_t offset, length;
  int layer;
  char diff_id[SHA256_HEX]; // empty: the blob itself is known, and nothing says what it inflates to
};

struct orders {
  int socket;
};

// Starts the opener on standard input. It ends with this process. Of the descriptors above standard error only `output` stays open.
bool orders_open(struct orders *orders, int layers, int output, struct failure *why) MUST_USE;
// Asks for the next layer and waits for it; the descriptor is the caller's. A failure tells which layer it was, if any.
bool orders_next(struct orders *orders, struct order *order, int *fd, struct failure *why) MUST_USE;
