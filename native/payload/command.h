// The program that is run inside.
#pragma once
#include "policy/arguments.h"
#include "policy/image_facts.h"

// The entry point that SHIFTER_ENTRYPOINT names where no option does: a program, or ENTRYPOINT_OF_IMAGE.
void command_entrypoint(struct arguments *arguments, char *const *environment);
// It and its arguments (rows in tests).
bool command_select(const struct arguments *arguments, const struct image_facts *image, struct words *argv, struct failure *why) MUST_USE;
