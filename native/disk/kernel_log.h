// The kernel's log, for messages: what it wrote about one device.
#pragma once
#include <stdbool.h>
#include <stddef.h>

// What a record says of the device, or NULL: it is about something else, or another device whose name begins like this one's. The record ends with
// its first line then.
const char *kernel_log_words(char *record, const char *device);
