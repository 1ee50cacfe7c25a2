#include "tree/elf.h"

#include <elf.h>
#include <string.h>

struct image {
  const unsigned char *at;
  size_t length;
  struct elf_kind kind;
};

static uint64_t number(const struct image *image, size_t from, size_t size) {
  if (size > image->length || from > image->length - size) return 0;
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++) value = value << 8 | image->at[image->kind.big ? from + i : from + size - 1 - i];
  return value;
}

struct elf_kind elf_kind(const unsigned char *at, size_t length) {
  if (length < EI_NIDENT + 4 || memcmp(at, ELFMAG, SELFMAG) != 0) return (struct elf_kind){0};
  if ((at[EI_CLASS] != ELFCLASS32 && at[EI_CLASS] != ELFCLASS64) || (at[EI_DATA] != ELFDATA2LSB && at[EI_DATA] != ELFDATA2MSB)) return (struct elf_kind){0};
  struct image image = {at, length, {.wide = at[EI_CLASS] == ELFCLASS64, .big = at[EI_DATA] == ELFDATA2MSB}};
  uint64_t type = number(&image, EI_NIDENT, 2);
  if (type == ET_EXEC || type == ET_DYN) image.kind.machine = (uint16_t)number(&image, EI_NIDENT + 2, 2);
  return image.kind;
}

bool elf_same(struct elf_kind one, struct elf_kind other) {
  return one.machine == other.machine && one.wide == other.wide && one.big == other.big;
}

const char *elf_architecture(struct elf_kind kind) {
  static const struct {
    struct elf_kind kind;
    const char *word;
  } known[] = {{{EM_X86_64, true, false}, "amd64"}, {{EM_386, false, false}, "386"}, {{EM_AARCH64, true, false}, "arm64"}, {{EM_ARM, false, false}, "arm"},
    {{EM_PPC64, true, false}, "ppc64le"}, {{EM_PPC64, true, true}, "ppc64"}, {{EM_S390, true, true}, "s390x"}, {{EM_RISCV, true, false}, "riscv64"}};
  for (size_t i = 0; i < COUNT_OF(known); i++)
    if (elf_same(kind, known[i].kind)) return known[i].word;
  return NULL;
}

// A note: sizes of name and description, type, name, description; name and description padded to four bytes.
static bool read_note(const struct image *notes, size_t *from, struct elf_kernel *kernel) {
  enum { LINUX = 0 };
  uint64_t name = number(notes, *from, 4), size = number(notes, *from + 4, 4), type = number(notes, *from + 8, 4);
  size_t at = *from + 12, padded = (size_t)(name + 3) & ~(size_t)3;
  *from = at + padded + ((size_t)(size + 3) & ~(size_t)3);
  bool is_abi = type == NT_GNU_ABI_TAG && name == 4 && size == 16 && notes->length >= at + 20 && memcmp(notes->at + at, "GNU", 4) == 0;
  if (!is_abi || number(notes, at + 4, 4) != LINUX) return false;
  *kernel = (struct elf_kernel){(uint32_t)number(notes, at + 8, 4), (uint32_t)number(notes, at + 12, 4), (uint32_t)number(notes, at + 16, 4)};
  return true;
}

bool elf_oldest_kernel(const unsigned char *at, size_t length, struct elf_kernel *kernel) {
  struct image image = {at, length, elf_kind(at, length)};
  if (image.kind.machine == 0) return false;
  bool wide = image.kind.wide;
  uint64_t table = wide ? number(&image, 32, 8) : number(&image, 28, 4);
  uint64_t size = number(&image, wide ? 54 : 42, 2), count = number(&image, wide ? 56 : 44, 2);
  if (size < (wide ? 56 : 32) || table > length) return false;
  for (uint64_t i = 0; i < count && table + (i + 1) * size <= length; i++) {
    size_t header = (size_t)(table + i * size);
    if (number(&image, header, 4) != PT_NOTE) continue;
    uint64_t from = wide ? number(&image, header + 8, 8) : number(&image, header + 4, 4);
    uint64_t bytes = wide ? number(&image, header + 32, 8) : number(&image, header + 16, 4);
    if (from > length || bytes > length - from) continue;
    struct image notes = {at + from, (size_t)bytes, image.kind};
    for (size_t next = 0; next + 12 <= notes.length;)
      if (read_note(&notes, &next, kernel)) return true;
  }
  return false;
}

static const unsigned char *digits(const unsigned char *at, const unsigned char *end, uint32_t *number) {
  const unsigned char *start = at;
  for (*number = 0; at < end && *at >= '0' && *at <= '9' && at - start < 4; at++) *number = *number * 10 + (uint32_t)(*at - '0');
  return at == start ? NULL : at;
}

bool elf_glibc(const unsigned char *at, size_t length, struct elf_glibc *version) {
  static const char banner[] = "GNU C Library", before[] = "release version ";
  const unsigned char *end = at + length;
  for (const unsigned char *line = at; (line = memmem(line, (size_t)(end - line), banner, sizeof banner - 1)) != NULL; line += sizeof banner - 1) {
    size_t rest = (size_t)(end - line) < 200 ? (size_t)(end - line) : 200;
    const unsigned char *found = memmem(line, rest, before, sizeof before - 1);
    if (found == NULL) continue;
    const unsigned char *dot = digits(found + sizeof before - 1, end, &version->major);
    if (dot != NULL && dot < end && *dot == '.' && digits(dot + 1, end, &version->minor) != NULL) return true;
  }
  return false;
}
