#include "merge/orders.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_LIMIT (PATH_MAX + 256)

struct message {
  struct order order;
  struct failure why;
  bool opened;
};

// --- the opener ----------------------------------------------------------------------------------------------------------------

// One order of standard input, up to its NUL; false at the end.
static bool read_order(char *line, size_t room) {
  for (size_t length = 0; length < room; length++) {
    ssize_t n;
    while ((n = read(STDIN_FILENO, line + length, 1)) < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    if (line[length] == '\0') return true;
  }
  return false;
}

// "LAYER OFFSET LENGTH DIFF-ID PATH"
static bool parse(char *line, int layers, struct order *order, const char **path) {
  uint64_t layer;
  char *fields[5] = {line};
  for (size_t i = 1; i < COUNT_OF(fields); i++) {
    char *blank = strchr(fields[i - 1], ' ');
    if (blank == NULL) return false;
    *blank = '\0';
    fields[i] = blank + 1;
  }
  bool known = strcmp(fields[3], "-") != 0;
  if (!number_parse(fields[0], strlen(fields[0]), (uint64_t)layers - 1, false, &layer) ||
      (known && (strlen(fields[3]) != SHA256_HEX - 1 || strspn(fields[3], "0123456789abcdef") != SHA256_HEX - 1)) ||
      !number_parse(fields[1], strlen(fields[1]), LARGEST_SIZE, false, &order->offset) ||
      !number_parse(fields[2], strlen(fields[2]), LARGEST_SIZE, false, &order->length))
    return false;
  order->layer = (int)layer;
  if (known) memcpy(order->diff_id, fields[3], SHA256_HEX);
  *path = fields[4];
  return true;
}

static int open_blob(const struct order *order, const char *path, struct failure *why) {
  struct stat status;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &status) != 0) {
    fail(why, ERROR_STATE_UNUSABLE, "its blob %s can't be opened: %s", path, strerror(errno));
  } else if (!S_ISREG(status.st_mode)) {
    fail(why, ERROR_LAYER_INVALID, "its blob %s is no regular file", path);
  } else if ((uint64_t)status.st_size < order->offset || (uint64_t)status.st_size - order->offset < order->length) {
    fail(why, ERROR_LAYER_INVALID, "its blob %s is shorter than it should be", path);
  } else {
    return fd;
  }
  if (fd >= 0) close(fd);
  return -1;
}

static bool send_message(int socket, const struct message *message, int fd) {
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof fd)];
  } control = {0};
  struct iovec data = {(void *)(uintptr_t)message, sizeof *message};
  struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
  if (fd >= 0) {
    header.msg_control = &control;
    header.msg_controllen = sizeof control;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  }
  ssize_t n;
  while ((n = sendmsg(socket, &header, MSG_NOSIGNAL)) < 0 && errno == EINTR) continue;
  return n == (ssize_t)sizeof *message;
}

static _Noreturn void opener(int socket, int layers) {
  char line[LINE_LIMIT], asked;
  // One at a time: descriptors on their way are counted, for all processes of an account together.
  while (read(socket, &asked, 1) == 1 && read_order(line, sizeof line)) {
    struct message message = {.order.layer = -1};
    const char *path;
    int fd = -1;
    if (parse(line, layers, &message.order, &path)) fd = open_blob(&message.order, path, &message.why);
    else fail(&message.why, ERROR_INTERNAL, "an order is not LAYER OFFSET LENGTH DIFF-ID PATH");
    message.opened = fd >= 0;
    if (!send_message(socket, &message, fd)) break;
    if (fd >= 0) close(fd);
  }
  _exit(0);
}

// --- the merger's side -----------------------------------------------------------------------------------------------------------

static void close_between(int first, int last) {
  if (first <= last) close_range((unsigned)first, (unsigned)last, 0);
}

static void close_all_but(int one, int other) {
  int low = one < other ? one : other, high = one < other ? other : one;
  close_between(STDERR_FILENO + 1, low - 1);
  close_between(low + 1, high - 1);
  close_between(high + 1, INT_MAX);
}

bool orders_open(struct orders *orders, int layers, int output, struct failure *why) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail(why, ERROR_RESOURCE, "no socket: %s", strerror(errno));
  pid_t merger = getpid(), child = fork();
  if (child < 0) return fail(why, ERROR_RESOURCE, "no process: %s", strerror(errno));
  if (child == 0) {
    // Nothing of what the merger writes to stays open here, and the end of the merger is ours.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != merger) _exit(0);
    close_between(STDOUT_FILENO, ends[1] - 1);
    close_between(ends[1] + 1, INT_MAX);
    opener(ends[1], layers);
  }
  close(STDIN_FILENO);
  close_all_but(output, ends[0]);
  orders->socket = ends[0];
  return true;
}

bool orders_next(struct orders *orders, struct order *order, int *fd, struct failure *why) {
  struct message message;
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof *fd)];
  } control = {0};
  struct iovec data = {&message, sizeof message};
  struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n;
  while ((n = write(orders->socket, "", 1)) < 0 && errno == EINTR) continue;
  while (n == 1 && (n = recvmsg(orders->socket, &header, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) n = 1;
  order->layer = -1;
  if (n != (ssize_t)sizeof message) return fail(why, ERROR_INTERNAL, "the orders ended before the last layer");
  *order = message.order;
  if (!message.opened) {
    *why = message.why;
    return false;
  }
  const struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
  if (rights == NULL || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof *fd))
    return fail(why, ERROR_RESOURCE, "too many descriptors are open");
  memcpy(fd, CMSG_DATA(rights), sizeof *fd);
  return true;
}
