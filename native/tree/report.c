#include "tree/report.h"

#include "mechanism/open.h"

#define TOLD_MOST 1000
#define HELD_MOST ((size_t)64 << 10)

// Who does not listen any more is told nothing: how it ended is in the status.
static void flush(struct report *report) {
  bool heard = write_all(report->fd, report->lines.at, report->lines.length);
  (void)heard;
  report->lines.length = 0;
}

void report_note(struct report *report, enum tree_note note, const char *name, const char *target) {
  if (note == NOTE_NONE || ++report->counts[note] > TOLD_MOST) return;
  buffer_print(&report->lines, "note %s ", tree_note_name(note));
  buffer_visible(&report->lines, name);
  if (target != NULL) {
    buffer_text(&report->lines, " -> ");
    buffer_visible(&report->lines, target);
  }
  buffer_byte(&report->lines, '\n');
  if (report->lines.length > HELD_MOST) flush(report);
}

void report_fact(struct report *report, const char *key, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  buffer_print(&report->lines, "fact %s ", key);
  buffer_print_list(&report->lines, format, arguments);
  buffer_byte(&report->lines, '\n');
  va_end(arguments);
}

void report_progress(struct report *report, uint64_t bytes) {
  buffer_print(&report->lines, "progress %llu\n", (unsigned long long)bytes);
  flush(report);
}

void report_counts(struct report *report) {
  for (size_t note = NOTE_NONE + 1; note < NOTE_COUNT; note++)
    if (report->counts[note] > 0) buffer_print(&report->lines, "count %s %llu\n", tree_note_name((enum tree_note)note), (unsigned long long)report->counts[note]);
}

void report_done(struct report *report, uint64_t bytes, uint64_t entries, const unsigned char digest[static 32]) {
  buffer_print(&report->lines, "done %llu %llu ", (unsigned long long)bytes, (unsigned long long)entries);
  for (size_t i = 0; i < 32; i++) buffer_print(&report->lines, "%02x", digest[i]);
  buffer_byte(&report->lines, '\n');
  flush(report);
}

void report_fault(struct report *report, const struct failure *why) {
  buffer_text(&report->lines, "fault ");
  failure_report(why, &report->lines);
  flush(report);
}

void report_free(struct report *report) {
  buffer_free(&report->lines);
}
