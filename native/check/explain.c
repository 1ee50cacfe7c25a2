#include "check/explain.h"

#include <string.h>

#define WIDTH 100

char *origin_of(const char *file, const struct conf_value *value) {
  if (value->text == NULL) return NULL;
  AUTO_BUFFER origin = {0};
  if (value->line == 0)
    buffer_text(&origin, "default");
  else
    buffer_print(&origin, "%s:%u", file, value->line);
  return steal(&origin.at);
}

// Words of a text on lines that begin with six blanks.
static void paragraph(struct buffer *out, const char *text) {
  AUTO_WORDS words = {0};
  words_add_split(&words, text, " ");
  size_t column = 0;
  for (size_t i = 0; i < words.count; i++) {
    size_t length = strlen(words.items[i]);
    bool breaks = column > 0 && column + 1 + length > WIDTH;
    if (breaks) buffer_byte(out, '\n');
    if (column == 0 || breaks) column = 5, buffer_text(out, "     ");
    buffer_print(out, " %s", words.items[i]);
    column += 1 + length;
  }
  buffer_byte(out, '\n');
}

static void explain_keys(struct buffer *out, const char *file, const char *prefix, const struct conf_key *keys, size_t count, const char *const *texts,
                         const struct conf_value *values) {
  for (size_t i = 0; i < count; i++) {
    if (keys[i].status != CONF_IN_USE) continue; // they have no value; warnings name them
    AUTO_FREE char *origin = origin_of(file, &values[i]);
    buffer_print(out, "  %s%s", prefix, keys[i].name);
    if (origin == NULL) {
      buffer_text(out, " is not set\n");
    } else {
      buffer_text(out, " = ");
      buffer_visible(out, values[i].text);
      buffer_print(out, "    (%s)\n", origin);
    }
    paragraph(out, texts[i]);
  }
}

static void list(struct buffer *out, const char *kind, const struct words *lines) {
  for (size_t i = 0; i < lines->count; i++) {
    buffer_print(out, "%s: ", kind);
    buffer_visible(out, lines->items[i]);
    buffer_byte(out, '\n');
  }
}

void explain_config(struct buffer *out, const char *directory, const struct config *config, const struct words *wrong) {
  buffer_print(out, "%s/udiRoot.conf\n", directory);
  explain_keys(out, "udiRoot.conf", "", udiroot_keys, UDIROOT_KEY_COUNT, udiroot_texts, config->udiroot);
  for (size_t i = 0; i < config->module_count; i++) {
    AUTO_BUFFER prefix = {0};
    buffer_print(&prefix, "module_%s_", config->modules[i].name);
    buffer_print(out, "\nModule %s\n", config->modules[i].name);
    explain_keys(out, "udiRoot.conf", prefix.at, module_keys, MODULE_KEY_COUNT, module_texts, config->modules[i].values);
  }
  buffer_print(out, "\n%s/runtime.conf\n", directory);
  explain_keys(out, "runtime.conf", "", runtime_keys, RUNTIME_KEY_COUNT, runtime_texts, config->runtime);
  buffer_byte(out, '\n');
  list(out, "warning", &config->warnings);
  list(out, "wrong", wrong);
  if (wrong->count == 0) buffer_text(out, "Nothing is wrong with the programs and trees that are named; udiMount, imagePath and etcPath are looked at by shifter-check node.\n");
}
