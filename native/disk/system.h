// What tells of an operating system: its os-release file, /etc/environment, the processor that its programs are for.
#pragma once
#include "policy/base.h"

// The value of a line KEY=VALUE, without the shell's quotes; false when there is none.
// https://www.freedesktop.org/software/systemd/man/latest/os-release.html
bool assignment_read(const char *text, size_t length, const char *key, struct buffer *value) MUST_USE;
// The processor as container registries call it, of a program's first bytes; NULL when they are no ELF header, "unknown" for others.
const char *elf_architecture(const unsigned char *at, size_t length);
// Whether programs for it run on this machine.
bool architecture_is_own(const char *architecture);
