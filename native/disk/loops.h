// Block devices of the machine's own kernel: loop devices on the disk's file, or on a file of the volume's pieces. Each is gone when it is neither
// open nor mounted.
#pragma once
#include "disk/devices.h"

struct loops {
  int disk;    // the disk's file
  uint64_t disk_size;
  int nodes;   // the directory of the machine's devices
  int control; // its loop-control
  int scratch; // where files of a volume's pieces are made, without a name
};

void loops_open(const struct loops *loops, struct devices **devices);
