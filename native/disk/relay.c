#include "disk/relay.h"

#include <string.h>

#define LOG_MOST ((size_t)64 << 10)
#define LINES_MOST 1000 // of information: an honest reader has no more patterns, candidates and facts to tell of

// Each is a good piece further than the one before, so there are only so many.
static bool goes_on(struct relay *relay) {
  uint64_t bytes = relay->last.bytes;
  if (bytes > relay->most || bytes - relay->progress < TELL_EVERY || bytes < relay->progress) return false;
  relay->progress = bytes;
  return true;
}

bool relay_voice(struct relay *relay, const char *at, size_t length, struct buffer *out, struct failure *why) {
  for (size_t i = 0; i < length; i++) {
    if (relay->ended) return true;
    if (at[i] != '\n') {
      if (relay->line.length == TELL_MOST) return fail(why, ERROR_READER_FAILED, "the reader tells a line of more than %d bytes", TELL_MOST);
      buffer_byte(&relay->line, at[i]);
      continue;
    }
    switch (told_read(relay->line.at == NULL ? "" : relay->line.at, relay->line.length, &relay->last)) {
      case TOLD_WRONG: return fail(why, ERROR_READER_FAILED, "the reader tells what no reader tells");
      case TOLD_DONE:
      case TOLD_FAULT: relay->ended = true; break;
      case TOLD_PROGRESS:
      case TOLD_INFORMATION:
        if (relay->last.kind == TOLD_PROGRESS ? !goes_on(relay) : ++relay->lines > LINES_MOST)
          return fail(why, ERROR_READER_FAILED, "the reader tells more than a reader has to tell");
        buffer_visible(out, relay->line.at);
        buffer_byte(out, '\n');
        break;
    }
    relay->line.length = 0;
  }
  return true;
}

void relay_log(struct relay *relay, const char *at, size_t length) {
  if (length > LOG_MOST) at += length - LOG_MOST, length = LOG_MOST;
  if (relay->log.length + length > LOG_MOST) {
    size_t kept = relay->log.length < LOG_MOST / 2 ? relay->log.length : LOG_MOST / 2;
    if (kept + length > LOG_MOST) kept = LOG_MOST - length;
    memmove(relay->log.at, relay->log.at + relay->log.length - kept, kept);
    relay->log.length = kept;
  }
  buffer_add(&relay->log, at, length);
}

static const char *last_of(const char *text, const char *what) {
  const char *found = NULL;
  for (const char *at = text; (at = strstr(at, what)) != NULL; at++) found = at;
  return found;
}

bool relay_died(const struct relay *relay, struct failure *why) {
  const char *log = relay->log.at == NULL ? "" : relay->log.at;
  if (strstr(log, "Out of memory") != NULL || strstr(log, "out of memory") != NULL)
    return fail(why, ERROR_LIMIT_EXCEEDED, "the reader's memory was not enough");
  const char *panic = last_of(log, "Kernel panic - not syncing: ");
  if (panic != NULL) return fail(why, ERROR_READER_FAILED, "its kernel gave up on the disk: %.*s", (int)strcspn(panic + 28, "\n"), panic + 28);
  size_t end = strlen(log);
  while (end > 0 && log[end - 1] == '\n') end--;
  size_t start = end;
  while (start > 0 && log[start - 1] != '\n') start--;
  if (end == start) return fail(why, ERROR_READER_FAILED, "the reader ended without a word");
  return fail(why, ERROR_READER_FAILED, "the reader ended: %.*s", (int)(end - start > 500 ? 500 : end - start), log + start);
}

void relay_free(struct relay *relay) {
  buffer_free(&relay->line);
  buffer_free(&relay->log);
}
