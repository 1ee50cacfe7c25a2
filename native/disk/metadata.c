#include "disk/metadata.h"

#include <stdlib.h>
#include <string.h>

#define MOST_DEPTH 16

struct reader {
  const char *at, *end;
  struct failure *why;
};

static bool wrong(const struct reader *reader) {
  return fail(reader->why, ERROR_DISK_INVALID, "the metadata of its LVM is damaged, %zu bytes before its end", (size_t)(reader->end - reader->at));
}

static void skip(struct reader *reader) {
  while (reader->at < reader->end) {
    char c = *reader->at;
    if (c == '#') {
      while (reader->at < reader->end && *reader->at != '\n') reader->at++;
    } else if (is_blank(c) || c == '\n' || c == '\r' || c == '\0') reader->at++;
    else return;
  }
}

static bool next_is(struct reader *reader, char c) {
  skip(reader);
  return reader->at < reader->end && *reader->at == c;
}

static bool take(struct reader *reader, char c) {
  if (!next_is(reader, c)) return false;
  reader->at++;
  return true;
}

static struct node *add(struct node *above) {
  above->items = memory_grow(above->items, &above->room, above->count + 1, sizeof *above->items);
  struct node *node = &above->items[above->count++];
  *node = (struct node){0};
  return node;
}

static bool read_text(struct reader *reader, struct node *node) {
  AUTO_BUFFER text = {0};
  buffer_text(&text, "");
  while (reader->at < reader->end && *reader->at != '"') {
    if (*reader->at == '\\' && reader->end - reader->at > 1) reader->at++;
    if (*reader->at == '\0') return wrong(reader);
    buffer_byte(&text, *reader->at++);
  }
  if (!take(reader, '"')) return wrong(reader);
  node->kind = NODE_TEXT;
  node->text = steal(&text.at);
  return true;
}

static bool read_number(struct reader *reader, struct node *node) {
  const char *start = reader->at;
  while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') reader->at++;
  node->kind = NODE_NUMBER;
  return number_parse(start, (size_t)(reader->at - start), UINT64_MAX / 2, true, &node->number) || wrong(reader);
}

static bool read_value(struct reader *reader, struct node *node, bool in_list) {
  skip(reader);
  if (take(reader, '"')) return read_text(reader, node);
  if (in_list || !take(reader, '[')) return read_number(reader, node);
  node->kind = NODE_LIST;
  while (!next_is(reader, ']')) {
    if (!read_value(reader, add(node), true)) return false;
    if (!take(reader, ',') && !next_is(reader, ']')) return wrong(reader);
  }
  return take(reader, ']');
}

static bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c != '\0' && strchr("_.+-/", c) != NULL);
}

static bool read_section(struct reader *reader, struct node *section, unsigned depth) {
  if (depth == MOST_DEPTH) return wrong(reader);
  for (skip(reader); reader->at < reader->end && *reader->at != '}'; skip(reader)) {
    const char *start = reader->at;
    while (reader->at < reader->end && is_name(*reader->at)) reader->at++;
    if (reader->at == start) return wrong(reader);
    struct node *node = add(section);
    node->name = memory_copy(start, (size_t)(reader->at - start));
    if (take(reader, '=')) {
      if (!read_value(reader, node, false)) return false;
    } else {
      if (!take(reader, '{') || !read_section(reader, node, depth + 1) || !take(reader, '}')) return wrong(reader);
    }
  }
  return true;
}

bool metadata_read(const char *text, size_t length, struct node *root, struct failure *why) {
  struct reader reader = {text, text + length, why};
  *root = (struct node){.kind = NODE_SECTION};
  if (!read_section(&reader, root, 0)) return false;
  return reader.at == reader.end || wrong(&reader);
}

void node_free(struct node *node) {
  for (size_t i = 0; i < node->count; i++) node_free(&node->items[i]);
  free(node->items);
  free(node->name);
  free(node->text);
}

const struct node *node_find(const struct node *section, const char *name, enum node_kind kind) {
  for (size_t i = 0; section != NULL && i < section->count; i++)
    if (section->items[i].kind == kind && section->items[i].name != NULL && strcmp(section->items[i].name, name) == 0) return &section->items[i];
  return NULL;
}

bool node_number(const struct node *section, const char *name, uint64_t *number) {
  const struct node *node = node_find(section, name, NODE_NUMBER);
  if (node != NULL) *number = node->number;
  return node != NULL;
}

const char *node_text(const struct node *section, const char *name) {
  const struct node *node = node_find(section, name, NODE_TEXT);
  return node == NULL ? NULL : node->text;
}
