#include "disk/system.h"

#include <elf.h>
#include <string.h>

// A value as a shell would see it, but that nothing is put in place of variables.
static void unquote(const char *at, size_t length, struct buffer *value) {
  char quote = '\0';
  buffer_text(value, "");
  for (size_t i = 0; i < length; i++) {
    if (quote == '\0' && (at[i] == '"' || at[i] == '\'')) quote = at[i];
    else if (quote != '\0' && at[i] == quote) quote = '\0';
    else if (at[i] == '\\' && quote != '\'' && i + 1 < length) buffer_byte(value, at[++i]);
    else if (quote == '\0' && is_blank(at[i])) return;
    else buffer_byte(value, at[i]);
  }
}

bool assignment_read(const char *text, size_t length, const char *key, struct buffer *value) {
  bool found = false;
  for (struct part line = parts_of(text, length); part_next(&line, '\n');) {
    const char *at = line.at;
    size_t left = line.length, key_length = strlen(key);
    trim(&at, &left);
    if (left > 7 && memcmp(at, "export ", 7) == 0) at += 7, left -= 7;
    if (left <= key_length || memcmp(at, key, key_length) != 0 || at[key_length] != '=') continue;
    // The last one counts.
    value->length = 0;
    unquote(at + key_length + 1, left - key_length - 1, value);
    found = true;
  }
  return found;
}

const char *elf_architecture(const unsigned char *at, size_t length) {
  if (length < 20 || memcmp(at, ELFMAG, SELFMAG) != 0) return NULL;
  bool little = at[EI_DATA] == ELFDATA2LSB;
  unsigned machine = little ? (unsigned)(at[18] | at[19] << 8) : (unsigned)(at[18] << 8 | at[19]);
  switch (machine) {
    case EM_X86_64: return at[EI_CLASS] == ELFCLASS64 ? "amd64" : "x32";
    case EM_386: return "386";
    case EM_AARCH64: return "arm64";
    case EM_ARM: return "arm";
    case EM_PPC64: return little ? "ppc64le" : "ppc64";
    case EM_S390: return "s390x";
    case EM_RISCV: return "riscv64";
    case EM_LOONGARCH: return "loong64";
    case EM_MIPS: return little ? "mips64le" : "mips64";
    default: return "unknown";
  }
}

bool architecture_is_own(const char *architecture) {
#if defined(__x86_64__)
  return strcmp(architecture, "amd64") == 0 || strcmp(architecture, "386") == 0;
#elif defined(__aarch64__)
  return strcmp(architecture, "arm64") == 0;
#else
  (void)architecture;
  return false;
#endif
}
