// shifter-merge: layers of a Docker image in, one tar stream of the root file system out. It runs without any right, in a sandbox, and is
// directed by the gateway: orders on standard input, the stream on descriptor 3, what happens on standard output.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "limits.gen.h"
#include "merge/blob.h"
#include "merge/merger.h"
#include "merge/orders.h"
#include "merge/sandbox.h"
#include "mechanism/open.h"

static const char help[] =
    "shifter-merge [--plan] [--sample EVERY:KEY] --policy VERSION --layers N --inflated BYTES --ratio N --entries N\n"
    "              --directory-entries N --depth N --name-bytes N\n"
    "\n"
    "Orders, newest layer first, each ended by NUL: LAYER OFFSET LENGTH DIFF-ID PATH. LAYER counts from 0, the oldest; DIFF-ID is the\n"
    "SHA-256 of the inflated layer in hex, or - where nothing says it; the blob is the range of the file. The tar stream goes to\n"
    "descriptor 3. On standard output:\n"
    "  progress BYTES            so far of the stream\n"
    "  done BYTES INODES DROPPED the stream is complete; with --sample its digest follows, as shifter-verify tells an image's\n"
    "  output-ended              whoever reads the stream reads no more\n"
    "  plan-needed               start anew with --plan: what was written so far is void\n"
    "  fault LAYER CODE WHAT     LAYER is -1 when it is none's\n";

#define OUTPUT 3
#define PIPE_ROOM (1 << 20)
#define TOLD_EVERY ((uint64_t)16 << 20)
#define REMEMBERED ((uint64_t)4 << 30)

struct options {
  bool plan, sampled;
  struct sample sample;
  uint64_t policy, layers, inflated, ratio, entries, directory, depth, name_bytes;
};

static bool option(struct options *options, const char *name, const char *value) {
  const struct {
    const char *name;
    uint64_t *into;
  } known[] = {{"--policy", &options->policy}, {"--layers", &options->layers}, {"--inflated", &options->inflated}, {"--ratio", &options->ratio},
    {"--entries", &options->entries}, {"--directory-entries", &options->directory}, {"--depth", &options->depth}, {"--name-bytes", &options->name_bytes}};
  for (size_t i = 0; i < COUNT_OF(known); i++)
    if (strcmp(name, known[i].name) == 0) return number_parse(value, strlen(value), LARGEST_SIZE, false, known[i].into) && *known[i].into > 0;
  return false;
}

static bool read_options(int argc, char **argv, struct options *options) {
  *options = (struct options){0};
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--plan") == 0) options->plan = true;
    else if (i + 1 < argc && strcmp(argv[i], "--sample") == 0) {
      if (!sample_parse(&options->sample, argv[++i])) return false;
      options->sampled = true;
    }
    else if (i + 1 == argc || !option(options, argv[i], argv[i + 1])) return false;
    else i++;
  }
  return options->policy > 0 && options->layers > 0 && options->layers <= 100000 && options->inflated > 0 && options->ratio > 0 && options->entries > 0 &&
         options->directory > 0 && options->depth > 0 && options->depth <= 4096 && options->name_bytes > 0;
}

static void tell(const struct buffer *line) {
  // Nobody who listens is told by the end of the stream.
  bool ignored = write_all(STDOUT_FILENO, line->at, line->length);
  (void)ignored;
}

struct output {
  uint64_t written, told;
};

static bool write_output(void *to, const void *at, size_t length) {
  struct output *output = to;
  if (!write_all(OUTPUT, at, length)) return false;
  output->written += length;
  if (output->written - output->told >= TOLD_EVERY) {
    AUTO_BUFFER line = {0};
    buffer_print(&line, "progress %llu\n", (unsigned long long)output->written);
    tell(&line);
    output->told = output->written;
  }
  return true;
}

static int tell_fault(int layer, const struct failure *why) {
  AUTO_BUFFER line = {0};
  buffer_print(&line, "fault %d %s ", layer, error_name(why->code));
  buffer_visible(&line, why->what);
  buffer_byte(&line, '\n');
  tell(&line);
  return error_exit(why->code);
}

static bool matches(const struct order *order, const char *digest, struct failure *why) {
  return order->diff_id[0] == '\0' || strcmp(order->diff_id, digest) == 0 ||
         fail(why, ERROR_DIGEST_MISMATCH, "it inflates to sha256:%s, but the image configuration says sha256:%s", digest, order->diff_id);
}

static struct plan *look_ahead(const struct order *order, int fd, const struct options *options, const struct blob_limits *limits, uint64_t key,
  struct failure *why) {
  CLEANUP(blob_close) struct blob *blob = blob_open(fd, order->offset, order->length, limits);
  const struct path_limits path = {options->depth, options->name_bytes, options->entries};
  struct plan *plan = plan_make(blob_input(blob), &path, key, why);
  char digest[SHA256_HEX];
  if (plan != NULL && !(blob_digest(blob, digest, why) && matches(order, digest, why))) plan_free(&plan);
  return plan;
}

// The limits of a layer: what the others have left.
static enum merge_result merge_layer(struct merger *merger, const struct order *order, int fd, const struct options *options, uint64_t *left, uint64_t key,
  int *fault_layer, struct failure *why) {
  const struct blob_limits limits = {.inflated = *left, .ratio = options->ratio};
  CLEANUP(blob_close) struct blob *blob = NULL;
  CLEANUP(plan_free) struct plan *plan = NULL;
  if (options->plan && (plan = look_ahead(order, fd, options, &limits, key, why)) == NULL) return MERGE_FAULT;
  blob = blob_open(fd, order->offset, order->length, &limits);
  enum merge_result result = merger_layer(merger, order->layer, blob_most(order->length, options->ratio), plan, blob_input(blob), why);
  *fault_layer = merger_fault_layer(merger);
  if (result != MERGE_OK) return result;
  char digest[SHA256_HEX];
  if (!blob_digest(blob, digest, why) || !matches(order, digest, why)) return MERGE_FAULT;
  *left -= blob_inflated(blob);
  return MERGE_OK;
}

// How it ended, when it did not end well.
static int stopped(enum merge_result result, int layer, const struct failure *why) {
  if (result == MERGE_FAULT) return tell_fault(layer, why);
  AUTO_BUFFER line = {0};
  buffer_text(&line, result == MERGE_PLAN_NEEDED ? "plan-needed\n" : "output-ended\n");
  tell(&line);
  return 0;
}

static int merge(const struct options *options, struct orders *orders, uint64_t key) {
  struct failure why = {0};
  struct output output = {0};
  const struct merge_limits limits = {{options->depth, options->name_bytes, options->entries}, options->entries, options->inflated, options->directory, REMEMBERED};
  CLEANUP(writer_close) struct writer *writer = writer_open((struct writer_output){write_output, &output});
  CLEANUP(merger_close) struct merger *merger = merger_open(&limits, writer, key);
  CLEANUP(contents_close) struct contents *contents = options->sampled ? contents_open(&options->sample) : NULL;
  merger_count(merger, contents);
  struct merge_summary summary = {0};
  uint64_t left = options->inflated;
  for (int layer = (int)options->layers - 1; layer >= 0; layer--) {
    struct order order;
    int fd;
    if (!orders_next(orders, &order, &fd, &why)) return tell_fault(layer, &why);
    if (order.layer != layer) {
      fail(&why, ERROR_INTERNAL, "layer %d was ordered where %d comes next", order.layer, layer);
      return tell_fault(layer, &why);
    }
    int fault_layer = layer;
    enum merge_result result = merge_layer(merger, &order, fd, options, &left, key, &fault_layer, &why);
    close(fd);
    if (result != MERGE_OK) return stopped(result, fault_layer, &why);
  }
  enum merge_result result = merger_end(merger, &summary);
  if (result != MERGE_OK) return stopped(result, -1, &why);
  AUTO_BUFFER line = {0};
  buffer_print(&line, "done %llu %llu %llu", (unsigned long long)output.written, (unsigned long long)summary.inodes,
    (unsigned long long)summary.dropped);
  if (contents != NULL) {
    char digest[SHA256_HEX];
    contents_digest(contents, digest);
    buffer_print(&line, " %s", digest);
  }
  buffer_byte(&line, '\n');
  tell(&line);
  return 0;
}

int main(int argc, char **argv) {
  struct options options;
  struct orders orders;
  struct failure why = {0};
  uint64_t key;
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return write_all(STDOUT_FILENO, help, sizeof help - 1) ? 0 : 1;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("shifter-merge " PROGRAM_VERSION) >= 0 ? 0 : 1;
  if (!read_options(argc, argv, &options)) {
    fail(&why, ERROR_USAGE, "the options are not those of --help");
    return tell_fault(-1, &why);
  }
  if (options.policy != LIMIT_FILTER_POLICY) {
    fail(&why, ERROR_TOOL_MISSING, "shifter-merge knows filter policy %d, not %llu: it is of another version than the gateway", LIMIT_FILTER_POLICY,
      (unsigned long long)options.policy);
    return tell_fault(-1, &why);
  }
  for (int fd = STDIN_FILENO; fd <= OUTPUT; fd++)
    if (fcntl(fd, F_GETFD) < 0) return error_exit(ERROR_USAGE); // what is opened later would take its place
  // A larger pipe means fewer changes between the processes; one that can't be made larger, or is none, works as well.
  fcntl(OUTPUT, F_SETPIPE_SZ, PIPE_ROOM);
  signal(SIGPIPE, SIG_IGN);
  blob_prepare();
  if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key) {
    fail(&why, ERROR_RESOURCE, "no random numbers: %s", strerror(errno));
    return tell_fault(-1, &why);
  }
  if (!orders_open(&orders, (int)options.layers, OUTPUT, &why) || !sandbox_enter(&why)) return tell_fault(-1, &why);
  return merge(&options, &orders, key);
}
