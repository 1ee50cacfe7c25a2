// Block devices of the guest's device mapper: a volume or a throw-away copy is a table of pieces of other devices.
#pragma once
#include "disk/devices.h"

// With the kernel's modules that the initramfs carries; `disk` is the whole disk's device, opened.
bool mapper_open(int disk, struct devices **devices, struct failure *why) MUST_USE;
