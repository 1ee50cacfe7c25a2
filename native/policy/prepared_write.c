// What only those need who make prepared roots, or take them down.
#include <string.h>

#include "policy/prepared.h"

static void add_field(struct buffer *out, const char *key, const char *at, size_t length) {
  buffer_print(out, "%s %zu:", key, length);
  buffer_add(out, at, length);
  buffer_byte(out, '\n');
}

static void write_fields(const struct prepared *entry, size_t first, size_t end, struct buffer *out) {
  for (size_t i = first; i < end; i++)
    if (entry->fields[i].at != NULL) add_field(out, prepared_keys[i].name, entry->fields[i].at, entry->fields[i].length);
}

void prepared_write(const struct prepared *entry, struct buffer *out) {
  buffer_print(out, PREPARED_KIND " %d\n", PREPARED_VERSION);
  for (size_t i = 0; i < entry->references.count; i++) add_field(out, "reference", entry->references.items[i], strlen(entry->references.items[i]));
  write_fields(entry, 0, PREPARED_COUNT, out);
  buffer_text(out, "end\n");
}

void prepared_key(const struct prepared *entry, char key[static SHA256_HEX]) {
  AUTO_BUFFER text = {0};
  buffer_print(&text, PREPARED_KIND " %d\n", PREPARED_VERSION);
  write_fields(entry, 0, PREPARED_NODES, &text);
  buffer_text(&text, "end\n");
  sha256_hex(text.at, text.length, key);
}

void pin_place(unsigned number, struct buffer *out) {
  buffer_text(out, "pins");
  if (number > 0) buffer_print(out, ".%u", number);
}

void pin_name(const char *uid, uint64_t random, const char *job, struct buffer *out) {
  buffer_print(out, "%s.%016llx.%s", uid, (unsigned long long)random, job);
}

bool pin_is_of(const char *name, const char *uid, const char *job) {
  AUTO_FREE char *whose = NULL, *of = NULL;
  return pin_parse(name, &whose, &of) && strcmp(of, job) == 0 && (uid == NULL || strcmp(whose, uid) == 0);
}
