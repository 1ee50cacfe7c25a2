// What a start looks for on this node beside the settings themselves. Each adds what it did not find.
#pragma once
#include "policy/config.h"

// What the site shows of the node, in every container.
bool sources_are_there(const struct config *config, struct buffer *missing);
// Whom usersToImport names.
bool accounts_are_known(const struct config *config, struct buffer *missing);
