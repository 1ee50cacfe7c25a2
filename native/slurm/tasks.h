// What the plugin does in slurmstepd.
#pragma once
#include <slurm/spank.h>

#include "policy/failure.h"

// SHIFTER_JOB_ID: the job whose prologue ran here. In a component of a heterogeneous job SLURM_JOB_ID is that of the first component.
void tasks_name_job(spank_t spank);
// In a component of a heterogeneous job that is not the first one, the variables are those of the first: where its own root was prepared here
// and the user did not change them, they become those of that root. Before: ids all root.
void tasks_take_component(spank_t spank);
// For a task of a step that has an image and does not run shifter itself: has it started by shifter. Before: the task is the user.
bool tasks_run_inside(spank_t spank, struct failure *why) MUST_USE;
