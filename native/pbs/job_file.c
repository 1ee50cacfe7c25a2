#include "pbs/job_file.h"

#include <string.h>

#include "policy/fields.h"
#include "policy/prepared.h"
#include "policy/reference.h"

static bool is_text(const char *at, size_t length) {
  return length > 0 && !has_control(at, length);
}

static bool is_path(const char *at, size_t length) {
  return is_text(at, length) && at[0] == '/';
}

static bool is_yes(const char *at, size_t length) {
  return text_is(at, length, "yes");
}

static bool is_job(const char *at, size_t length) {
  AUTO_FREE char *job = memory_copy(at, length);
  return strlen(job) == length && job_is_valid(job);
}

bool job_file_parse(const char *at, size_t length, struct job_file *file, struct failure *why) {
  static const struct field_key keys[] = {
      {"job", FIELD_NEEDED, offsetof(struct job_file, job), field_text, is_job},
      {"uid", FIELD_NEEDED, offsetof(struct job_file, uid), field_id, NULL},
      {"image", FIELD_NEEDED, offsetof(struct job_file, image), field_text, reference_is_canonical},
      {"volume", FIELD_MANY, offsetof(struct job_file, volumes), field_word, is_text},
      {"modules", FIELD_ONCE, offsetof(struct job_file, modules), field_text, is_text},
      {"writable", FIELD_ONCE, offsetof(struct job_file, writable), field_text, is_yes},
      {"shell", FIELD_ONCE, offsetof(struct job_file, shell), field_text, is_path},
      {"run", FIELD_ONCE, offsetof(struct job_file, run), field_size, NULL},
  };
  static const struct field_form form = {"shifter-pbs", 1, JOB_FILE_BYTES, keys, COUNT_OF(keys)};
  *file = (struct job_file){0};
  if (fields_parse(&form, at, length, file, why)) return true;
  job_file_free(file);
  return false;
}

void job_file_free(struct job_file *file) {
  cleanup_free(&file->job);
  cleanup_free(&file->image);
  cleanup_free(&file->modules);
  cleanup_free(&file->shell);
  cleanup_free(&file->writable);
  words_free(&file->volumes);
}

static void add(struct words *arguments, const char *option, const char *value) {
  AUTO_BUFFER text = {0};
  buffer_print(&text, "%s%s", option, value);
  words_add(arguments, text.at, text.length);
}

void job_file_arguments(const struct job_file *file, const char *shifter, struct words *arguments) {
  words_add_text(arguments, shifter);
  add(arguments, "--image=", file->image);
  for (size_t i = 0; i < file->volumes.count; i++) add(arguments, "--volume=", file->volumes.items[i]);
  if (file->modules != NULL) add(arguments, "--module=", file->modules);
  if (file->writable != NULL) words_add_text(arguments, "--writable");
  words_add_text(arguments, "--");
}

bool text_decode(const char *at, struct buffer *out) {
  for (; *at != '\0'; at++) {
    int byte = (unsigned char)*at;
    if (byte == '%') {
      int high = hex_digit(at[1]), low = high == 16 ? 16 : hex_digit(at[2]);
      byte = high * 16 + low;
      if (low == 16 || byte == 0) return false;
      at += 2;
    }
    buffer_byte(out, (char)byte);
  }
  return true;
}
