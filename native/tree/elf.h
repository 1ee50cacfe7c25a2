// What a program or library says of the machine it is for. Every byte is a stranger's.
#pragma once
#include "policy/base.h"

struct elf_kind {
  uint16_t machine; // 0: it is no program
  bool wide, big;   // 64 bits; most significant byte first
};
struct elf_kind elf_kind(const unsigned char *at, size_t length);
bool elf_same(struct elf_kind one, struct elf_kind other);
// The word of OCI for an architecture; NULL for one that it has no word for.
const char *elf_architecture(struct elf_kind kind);

// The oldest kernel that a library runs on, as its note says; false where it says nothing.
struct elf_kernel {
  uint32_t major, minor, patch;
};
bool elf_oldest_kernel(const unsigned char *at, size_t length, struct elf_kernel *kernel);

// The version in the banner of a GNU C library, "2.36"; false where there is none.
struct elf_glibc {
  uint32_t major, minor;
};
bool elf_glibc(const unsigned char *at, size_t length, struct elf_glibc *version);
