// What is looked up: image references, files of names, entries of prepared roots, names of pins.
//
// Input: a byte for the kind, then the text or file.
#include "fuzz/fuzzing.h"
#include "policy/prepared.h"
#include "policy/record.h"
#include "policy/reference.h"

// A canonical form is its own canonical form, and names no way out of where it is looked for.
static void references(const char *at, size_t length) {
  static const char *const types[] = {NULL, "docker", "id", "local", "custom", "oci", "vm", "chos"};
  for (size_t i = 0; i < COUNT_OF(types); i++) {
    struct image_reference reference = {0}, again = {0};
    struct failure why = {0};
    if (!reference_parse(at, length, types[i], &reference, &why)) {
      fuzz_refused(&why);
      continue;
    }
    must(reference.type != IMAGE_ID || (strchr(reference.reference, '/') == NULL && reference.reference[0] != '.' && strlen(reference.reference) == strspn(reference.reference, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-")));
    must(reference.type != IMAGE_LOCAL || fuzz_is_clean(reference.canonical + strlen("local:")));
    if (reference.canonical != NULL) {
      size_t size = strlen(reference.canonical);
      must(!has_control(reference.canonical, size) && reference_is_canonical(reference.canonical, size));
      must(reference_parse(reference.canonical, size, types[i], &again, &why));
      must(again.type == reference.type && strcmp(again.canonical, reference.canonical) == 0);
      reference_free(&again);
    }
    reference_free(&reference);
  }
}

static void names(const char *at, size_t length) {
  struct name_entry name = {0}, again = {0};
  struct failure why = {0};
  AUTO_BUFFER written = {0};
  if (!name_parse(at, length, &name, &why)) {
    fuzz_refused(&why);
    return;
  }
  must(image_id_is_valid(name.id, strlen(name.id)) && reference_is_canonical(name.reference, strlen(name.reference)));
  buffer_print(&written, "shifter-name 1\nreference %zu:%s\nid %zu:%s\nend\n", strlen(name.reference), name.reference, strlen(name.id), name.id);
  must(name_parse(written.at, written.length, &again, &why));
  must(strcmp(name.id, again.id) == 0 && strcmp(name.reference, again.reference) == 0);
  name_free(&name);
  name_free(&again);
}

static void entries(const char *at, size_t length) {
  struct prepared entry = {0}, again = {0};
  struct failure why = {0};
  AUTO_BUFFER written = {0};
  char key[SHA256_HEX], same[SHA256_HEX];
  if (!prepared_parse(at, length, &entry, &why)) {
    fuzz_refused(&why);
    return;
  }
  must(job_is_valid(prepared_text(&entry, PREPARED_JOB)) && strchr(prepared_text(&entry, PREPARED_PIN), '/') == strrchr(prepared_text(&entry, PREPARED_PIN), '/'));
  must((entry.fields[PREPARED_RECORD].at != NULL) != (entry.fields[PREPARED_META].at != NULL));
  prepared_write(&entry, &written);
  must(prepared_parse(written.at, written.length, &again, &why));
  must(prepared_same(&entry, &again, PREPARED_JOB, PREPARED_MADE) && fuzz_same_words(&entry.references, &again.references));
  prepared_key(&entry, key);
  prepared_key(&again, same);
  must(strcmp(key, same) == 0 && hash_is_valid(key, strlen(key)));
  prepared_free(&entry);
  prepared_free(&again);
}

static void pins(const char *text) {
  char *uid = NULL, *job = NULL;
  AUTO_BUFFER made = {0};
  if (!pin_parse(text, &uid, &job)) return;
  must(strchr(text, '/') == NULL && job_is_valid(job) && strspn(uid, "0123456789") == strlen(uid));
  must(pin_is_of(text, uid, job) && pin_is_of(text, NULL, job));
  pin_name(uid, strtoull(text + strlen(uid) + 1, NULL, 16), job, &made);
  must(strcmp(made.at, text) == 0);
  free(uid);
  free(job);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  char *exact = fuzz_copy(data + 1, size - 1, false), *text = fuzz_copy(data + 1, size - 1, true);
  switch (data[0] % 4) {
  case 0:
    references(exact, size - 1);
    break;
  case 1:
    names(exact, size - 1);
    break;
  case 2:
    entries(exact, size - 1);
    break;
  default:
    pins(text);
  }
  free(exact);
  free(text);
  return 0;
}
