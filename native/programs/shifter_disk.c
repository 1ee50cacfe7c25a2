// shifter-disk: one raw disk in, one tar archive of the system on it out. A stranger's file systems are read by a User-Mode Linux kernel, which is
// a process without rights, network or files but these; or, where the site says so, by the machine's own. What the reader says is judged as a stranger's.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk/guest.h"
#include "disk/initramfs.h"
#include "disk/launch.h"
#include "disk/own_kernel.h"
#include "disk/relay.h"
#include "mechanism/open.h"
#include "mechanism/process.h"

static const char help[] =
    "shifter-disk --disk FILE --output FILE [--partition NAME] [--kernel FILE] [--memory MIB] [--seconds N] [--entries N] [--bytes N]\n"
    "             [--scratch DIRECTORY] [--user UID:GID] [--reader uml|kernel]\n"
    "\n"
    "Reads the system on a raw disk, which is never written, in a User-Mode Linux kernel, and writes its files as a tar archive to a new file.\n"
    "With --reader kernel this machine's own kernel reads it, for root alone: whoever made the disk can then attack that kernel.\n"
    "Names are looked up from the scratch directory then; otherwise they lead to their files by directories that the reader can go through, not by\n"
    "descriptors. Root gives the account to become. On standard output:\n"
    "  found NAME FSTYPE LABEL UUID TITLE   a file system that holds a system; --partition chooses\n"
    "  root NAME FSTYPE                     the one that is read\n"
    "  merged PATH NAME FSTYPE              what its fstab mounts there\n"
    "  replayed NAME                        its journal was replayed, on a copy\n"
    "  fact KEY VALUE                       os, version, title, architecture, path\n"
    "  stripped PATTERN COUNT               so many entries are left out by this pattern\n"
    "  progress BYTES                       so far of the archive\n"
    "  done BYTES ENTRIES                   the archive is complete\n"
    "  fault CODE WHAT                      the last line when it fails; there is no archive then\n";

#define MEMORY_LEAST 128
#define MEMORY_MOST 4096

struct options {
  const char *disk, *output, *partition, *kernel, *scratch, *user, *reader;
  uid_t uid; // of --user
  gid_t gid;
  pid_t parent;
  uint64_t memory, seconds, entries, bytes;
};

// --- options -------------------------------------------------------------------------------------------------------------------

static bool number_option(uint64_t *into, const char *value) {
  return number_parse(value, strlen(value), LARGEST_SIZE, false, into) && *into > 0;
}

static bool option(struct options *options, const char *name, const char *value) {
  const struct {
    const char *name, **text;
    uint64_t *number;
  } known[] = {{"--disk", &options->disk, NULL}, {"--output", &options->output, NULL}, {"--partition", &options->partition, NULL},
    {"--kernel", &options->kernel, NULL}, {"--scratch", &options->scratch, NULL}, {"--user", &options->user, NULL}, {"--reader", &options->reader, NULL}, {"--memory", NULL, &options->memory},
    {"--seconds", NULL, &options->seconds}, {"--entries", NULL, &options->entries}, {"--bytes", NULL, &options->bytes}};
  for (size_t i = 0; i < COUNT_OF(known); i++) {
    if (strcmp(name, known[i].name) != 0) continue;
    if (known[i].number != NULL) return number_option(known[i].number, value);
    *known[i].text = value;
    return value[0] != '\0';
  }
  return false;
}

// Whether the machine's own kernel reads the disk.
static bool is_own(const struct options *options) {
  return strcmp(options->reader, "kernel") == 0;
}

static bool read_options(int argc, char **argv, struct options *options, struct failure *why) {
  *options = (struct options){.kernel = "/usr/bin/linux.uml", .memory = 512, .seconds = 3600, .entries = 10000000, .bytes = UINT64_C(1) << 40, .scratch = "/var/tmp", .reader = "uml"};
  for (int i = 1; i < argc; i += 2)
    if (i + 1 == argc || !option(options, argv[i], argv[i + 1])) return fail(why, ERROR_USAGE, "%s is no option of --help, or its value is none", argv[i]);
  if (options->disk == NULL || options->output == NULL) return fail(why, ERROR_USAGE, "--disk and --output are needed");
  if (options->partition != NULL && has_control(options->partition, strlen(options->partition))) return fail(why, ERROR_USAGE, "--partition is no name");
  if (strcmp(options->reader, "uml") != 0 && !is_own(options)) return fail(why, ERROR_USAGE, "--reader is uml or kernel");
  if (options->memory < MEMORY_LEAST || options->memory > MEMORY_MOST)
    return fail(why, ERROR_USAGE, "--memory is from %d to %d", MEMORY_LEAST, MEMORY_MOST);
  return true;
}

static bool read_account(struct options *options, struct failure *why) {
  const char *user = options->user;
  uint64_t uid = 0, gid = 0;
  size_t rest = 0, length = user == NULL ? 0 : strlen(user);
  const char *group = user == NULL ? NULL : text_cut(user, &length, ':', &rest);
  if (group == NULL || !number_parse(user, length, LARGEST_ID, false, &uid) || !number_parse(group, rest, LARGEST_ID, false, &gid) || uid == 0 || gid == 0)
    return fail(why, ERROR_USAGE, "root gives the account to become: --user UID:GID, neither of them 0");
  options->uid = (uid_t)uid;
  options->gid = (gid_t)gid;
  return true;
}

// For the machine's own kernel root's rights are put aside until it is started. Root may be led to the scratch directory where the account is not.
static bool become(struct options *options, struct failure *why) {
  if (geteuid() != 0 && is_own(options)) return fail(why, ERROR_USAGE, "--reader kernel mounts the disk, which root alone can");
  if (is_own(options) && chdir(options->scratch) != 0) return fail(why, ERROR_STATE_UNUSABLE, "%s can't be used: %s", options->scratch, strerror(errno));
  if (geteuid() != 0) return options->user == NULL || fail(why, ERROR_USAGE, "--user is root's to give");
  if (!read_account(options, why)) return false;
  uid_t saved = is_own(options) ? 0 : options->uid;
  // The kernel hides a process that changed its account from that account; the guest's has to write the maps of its own namespace.
  return (setgroups(0, NULL) == 0 && setresgid(options->gid, options->gid, options->gid) == 0 && setresuid(options->uid, options->uid, saved) == 0 &&
           (is_own(options) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0)) ||
         fail(why, ERROR_READER_FAILED, "the account %s can't be taken on: %s", options->user, strerror(errno));
}

// A change of the account takes it back.
static bool die_with_parent(const struct options *options) {
  return prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) == 0 && getppid() == options->parent;
}

// --- files ---------------------------------------------------------------------------------------------------------------------

static bool open_disk(const char *path, int *fd, uint64_t *size, struct failure *why) {
  struct stat status;
  // Where the directory is the account's, what was in it may have put a link there.
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (*fd < 0 || fstat(*fd, &status) != 0) return fail(why, ERROR_DISK_INVALID, "%s can't be opened: %s", path, strerror(errno));
  if (!S_ISREG(status.st_mode)) return fail(why, ERROR_DISK_INVALID, "%s is no regular file", path);
  if (status.st_size < 512) return fail(why, ERROR_DISK_INVALID, "%s has less than a sector", path);
  *size = (uint64_t)status.st_size / 512 * 512;
  // The guest's kernel would take the disk's size from such a header, whatever it is told, and may stumble over it.
  char magic[4] = "";
  if (pread(*fd, magic, sizeof magic, 0) == (ssize_t)sizeof magic && memcmp(magic, "OOOM", 4) != 0 && memcmp(magic, "MOOO", 4) != 0) return true;
  return fail(why, ERROR_DISK_UNSUPPORTED, "%s is a copy-on-write file of User-Mode Linux, which names another", path);
}

// The archive, under its name from the start, so that nobody else takes it.
static bool make_output(const struct options *options, int *fd, struct failure *why) {
  *fd = open(options->output, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (*fd < 0) return fail(why, errno == ENOSPC || errno == EDQUOT ? ERROR_STORAGE_FULL : ERROR_USAGE, "%s can't be made: %s", options->output, strerror(errno));
  uint64_t size = (options->bytes + 4095) / 4096 * 4096;
  // A device has its size from the start.
  if (is_own(options) || ftruncate(*fd, (off_t)size) == 0) return true;
  fail(why, ERROR_STORAGE_FULL, "%s can't have %llu bytes, which --bytes allows: %s", options->output, (unsigned long long)size, strerror(errno));
  unlink(options->output);
  return false;
}

// Has a name only until the guest has it open.
static bool make_scratch(const struct options *options, struct buffer *name, struct failure *why) {
  buffer_print(name, "%s/.shifter-disk.XXXXXX", options->scratch);
  AUTO_FD fd = mkostemp(name->at, O_CLOEXEC);
  if (fd < 0) return fail(why, errno == ENOSPC || errno == EDQUOT ? ERROR_STORAGE_FULL : ERROR_STATE_UNUSABLE, "no file can be made in %s: %s", options->scratch, strerror(errno));
  if (ftruncate(fd, (off_t)(GUEST_COPIES * GUEST_COPY)) == 0) return true;
  fail(why, ERROR_STORAGE_FULL, "no sparse file of %llu bytes can be made in %s: %s", (unsigned long long)(GUEST_COPIES * GUEST_COPY), options->scratch, strerror(errno));
  unlink(name->at);
  return false;
}

// --- the guest -----------------------------------------------------------------------------------------------------------------

enum source { SOURCE_SIGNAL, SOURCE_CLOCK, SOURCE_READY, SOURCE_VOICE, SOURCE_LOG, SOURCES };

struct session {
  const struct options *options;
  int disk, output;
  uint64_t disk_size;
  struct buffer scratch; // the file's name, while it has one
  struct relay relay;
  struct pollfd polled[SOURCES];
  pid_t guest;
};

static void end_guest(struct session *session) {
  if (session->guest <= 0) return;
  kill(session->guest, SIGKILL);
  while (waitpid(session->guest, NULL, 0) < 0 && errno == EINTR) continue;
  session->guest = 0;
}

static void drop_scratch(struct session *session) {
  if (session->scratch.length > 0) unlink(session->scratch.at);
  session->scratch.length = 0;
}

static bool watch(struct session *session, sigset_t *signals, struct failure *why) {
  sigemptyset(signals);
  static const int each[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
  for (size_t i = 0; i < COUNT_OF(each); i++) sigaddset(signals, each[i]);
  const struct itimerspec until = {.it_value = {.tv_sec = (time_t)session->options->seconds}};
  int clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  if (sigprocmask(SIG_BLOCK, signals, NULL) != 0 || clock < 0 || timerfd_settime(clock, 0, &until, NULL) != 0)
    return fail(why, ERROR_RESOURCE, "the reader can't be watched: %s", strerror(errno));
  session->polled[SOURCE_SIGNAL] = (struct pollfd){signalfd(-1, signals, SFD_CLOEXEC), POLLIN, 0};
  session->polled[SOURCE_CLOCK] = (struct pollfd){clock, POLLIN, 0};
  return session->polled[SOURCE_SIGNAL].fd >= 0 || fail(why, ERROR_RESOURCE, "the reader can't be watched: %s", strerror(errno));
}

struct pipes {
  int voice[2], log[2], ready[2];
};

static bool start_guest(struct session *session, const struct pipes *pipes, struct failure *why) {
  const struct options *options = session->options;
  AUTO_BUFFER archive = {0};
  if (access(options->kernel, X_OK) != 0)
    return fail(why, ERROR_TOOL_MISSING, "%s can't be run: install the package user-mode-linux (%s)", options->kernel, strerror(errno));
  if (!initramfs_make(options->partition, options->entries, options->bytes, &archive, why) || !make_scratch(options, &session->scratch, why)) return false;
  uint64_t most = options->bytes > GUEST_COPIES * GUEST_COPY ? options->bytes : GUEST_COPIES * GUEST_COPY;
  const struct launch launch = {.kernel = options->kernel, .disk = options->disk, .output = options->output, .scratch = session->scratch.at,
    .directory = options->scratch, .archive = &archive, .memory = options->memory, .seconds = options->seconds * 2, .file_most = most + 4096,
    .voice = pipes->voice[1], .log = pipes->log[1], .ready = pipes->ready[1]};
  return launch_guest(&launch, &session->guest, why);
}

static bool start_own(struct session *session, const struct pipes *pipes, struct failure *why) {
  const struct options *options = session->options;
  const struct orders orders = {options->partition, options->entries, options->bytes};
  const struct own_kernel own = {.orders = &orders, .uid = options->uid, .gid = options->gid, .disk = session->disk,
    .output = session->output, .disk_size = session->disk_size, .memory = options->memory, .seconds = options->seconds * 2, .voice = pipes->voice[1],
    .log = pipes->log[1]};
  if (!launch_own(&own, &session->guest, why)) return false;
  return die_with_parent(options) || fail(why, ERROR_CANCELLED, "who started it has ended");
}

static bool start(struct session *session, struct failure *why) {
  struct pipes pipes;
  if (pipe2(pipes.voice, O_CLOEXEC) != 0 || pipe2(pipes.log, O_CLOEXEC) != 0 || pipe2(pipes.ready, O_CLOEXEC) != 0)
    return fail(why, ERROR_RESOURCE, "no pipes: %s", strerror(errno));
  bool started = is_own(session->options) ? start_own(session, &pipes, why) : start_guest(session, &pipes, why);
  close(pipes.voice[1]);
  close(pipes.log[1]);
  close(pipes.ready[1]);
  session->polled[SOURCE_VOICE] = (struct pollfd){pipes.voice[0], POLLIN, 0};
  session->polled[SOURCE_LOG] = (struct pollfd){pipes.log[0], POLLIN, 0};
  session->polled[SOURCE_READY] = (struct pollfd){pipes.ready[0], POLLIN, 0};
  return started;
}

static bool cut_short(const struct session *session, struct failure *why) {
  if (session->polled[SOURCE_SIGNAL].revents != 0) return fail(why, ERROR_CANCELLED, "a signal ended it"), true;
  if (session->polled[SOURCE_CLOCK].revents == 0) return false;
  return fail(why, ERROR_LIMIT_EXCEEDED, "the disk was not read within %llu seconds", (unsigned long long)session->options->seconds), true;
}

// No more at once than a pipe that takes anything takes: signals and the clock count while nobody reads, too.
static bool say(struct session *session, const struct buffer *out, struct failure *why) {
  for (size_t done = 0; done < out->length;) {
    struct pollfd polled[] = {session->polled[SOURCE_SIGNAL], session->polled[SOURCE_CLOCK], {STDOUT_FILENO, POLLOUT, 0}};
    if (poll(polled, COUNT_OF(polled), -1) < 0 && errno != EINTR) return fail(why, ERROR_RESOURCE, "the reader can't be watched: %s", strerror(errno));
    session->polled[SOURCE_SIGNAL].revents = polled[0].revents;
    session->polled[SOURCE_CLOCK].revents = polled[1].revents;
    if (cut_short(session, why)) return false;
    if (polled[2].revents == 0) continue;
    size_t length = out->length - done < PIPE_BUF ? out->length - done : PIPE_BUF;
    if (!write_all(STDOUT_FILENO, out->at + done, length)) return fail(why, ERROR_CANCELLED, "nobody listens");
    done += length;
  }
  return true;
}

static bool hear(struct session *session, enum source source, struct failure *why) {
  char piece[4096];
  AUTO_BUFFER out = {0};
  struct pollfd *polled = &session->polled[source];
  ssize_t n = read(polled->fd, piece, sizeof piece);
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) {
    polled->fd = -1; // no more is heard of it
    return true;
  }
  if (source == SOURCE_LOG) relay_log(&session->relay, piece, (size_t)n);
  if (source == SOURCE_VOICE && !relay_voice(&session->relay, piece, (size_t)n, &out, why)) return false;
  if (source == SOURCE_READY && piece[0] != '+') return fail(why, ERROR_READER_FAILED, "%.*s", (int)n, piece);
  if (source == SOURCE_READY) drop_scratch(session);
  return say(session, &out, why);
}

// Until the guest has had its last word, died, or had its time.
static bool listen_to(struct session *session, struct failure *why) {
  struct pollfd *polled = session->polled;
  while (!session->relay.ended) {
    if (polled[SOURCE_VOICE].fd < 0 && polled[SOURCE_LOG].fd < 0) return relay_died(&session->relay, why);
    if (poll(polled, SOURCES, -1) < 0 && errno != EINTR) return fail(why, ERROR_RESOURCE, "the reader can't be watched: %s", strerror(errno));
    if (cut_short(session, why)) return false;
    for (enum source source = SOURCE_READY; source < SOURCES; source++)
      if (polled[source].fd >= 0 && polled[source].revents != 0 && !hear(session, source, why)) return false;
  }
  if (session->relay.last.kind == TOLD_DONE) return true;
  *why = session->relay.last.fault;
  return false;
}

// Whole blocks, and no more than there was room for.
static bool cut_output(const struct session *session, struct failure *why) {
  const struct told_line *done = &session->relay.last;
  if (done->bytes == 0 || done->bytes % 512 != 0 || done->bytes > session->options->bytes)
    return fail(why, ERROR_READER_FAILED, "the reader tells of an archive of %llu bytes", (unsigned long long)done->bytes);
  return ftruncate(session->output, (off_t)done->bytes) == 0 || fail(why, ERROR_STORAGE_FULL, "the archive can't be cut to its length: %s", strerror(errno));
}

static bool convert(struct session *session, struct failure *why) {
  bool done = start(session, why) && listen_to(session, why);
  end_guest(session);
  drop_scratch(session);
  return done && cut_output(session, why);
}

static int refuse(const struct failure *why) {
  AUTO_BUFFER line = {0};
  buffer_print(&line, "fault %s ", error_name(why->code));
  buffer_visible(&line, why->what);
  buffer_byte(&line, '\n');
  // Who reads nothing for so long is told nothing.
  struct pollfd room = {STDOUT_FILENO, POLLOUT, 0};
  bool ignored = poll(&room, 1, 2000) == 1 && write_all(STDOUT_FILENO, line.at, line.length);
  (void)ignored;
  return 1;
}

static bool tell_done(struct session *session, struct failure *why) {
  const struct told_line *done = &session->relay.last;
  AUTO_BUFFER line = {0};
  buffer_print(&line, "done %llu %llu\n", (unsigned long long)done->bytes, (unsigned long long)done->entries);
  return say(session, &line, why);
}

static bool read_disk(const struct options *options, struct failure *why) {
  struct session session = {.options = options, .disk = -1, .output = -1, .relay = {.most = options->bytes}};
  sigset_t signals;
  for (size_t i = 0; i < SOURCES; i++) session.polled[i].fd = -1;
  if (!open_disk(options->disk, &session.disk, &session.disk_size, why) || !watch(&session, &signals, why) || !make_output(options, &session.output, why))
    return false;
  bool done = convert(&session, why) && tell_done(&session, why);
  if (!done) unlink(options->output);
  relay_free(&session.relay);
  buffer_free(&session.scratch);
  close(session.disk);
  close(session.output);
  return done;
}

int main(int argc, char **argv) {
  struct failure why = {0};
  struct options options;
  const pid_t parent = getppid();
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return write_all(STDOUT_FILENO, help, sizeof help - 1) ? 0 : 1;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("shifter-disk " PROGRAM_VERSION) >= 0 ? 0 : 1;
  if (!standard_descriptors_open()) return 1;
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); // a limit on the size of files is a failure like a full disk
  umask(077);
  if (!read_options(argc, argv, &options, &why) || !become(&options, &why)) return refuse(&why);
  options.parent = parent;
  if (!die_with_parent(&options)) return 1;
  return read_disk(&options, &why) ? 0 : refuse(&why);
}
