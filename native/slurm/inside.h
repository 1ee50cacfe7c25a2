// Steps that run inside an image by themselves: which they are.
#pragma once
#include "policy/base.h"

#define INSIDE_STEPS UINT32_C(0xfffffff0)         // numbers of steps are below (SLURM_MAX_NORMAL_STEP_ID)
#define INSIDE_VARIABLE "SHIFTER_TASK_PROGRAM"    // for shifter-task: what the user wants run

// Whether the program is shifter, which no image has.
bool inside_is_shifter(const char *program);
// Whether these are the words of srun --multi-prog, where Slurm keeps the text of its file: lines that begin with ranks. And then whether
// each of its programs is shifter.
bool inside_is_multi_prog(int count, char *const *argv, bool *shifter_everywhere);
