// What can be tested of the mechanism without changing the machine; what needs root is skipped, with a reason, for anyone else.
#include "tests/testing.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mechanism/descriptors.h"
#include "mechanism/drop.h"
#include "mechanism/identity.h"
#include "mechanism/open.h"
#include "mechanism/process.h"

static bool without_root(void) {
  if (geteuid() == 0) return false;
  printf("skipped: needs root\n");
  return true;
}

static void descriptor_kinds(void **state) {
  (void)state;
  int ends[2], sockets[2];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  assert_true(descriptor_may_stay(ends[0]));
  assert_true(descriptor_may_stay(sockets[0]));
  AUTO_FD null = open("/dev/null", O_RDWR | O_CLOEXEC);
  AUTO_FD memory = memfd_create("test", MFD_CLOEXEC);
  AUTO_FD directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  AUTO_FD path = open("/dev/null", O_PATH | O_CLOEXEC);
  AUTO_FD namespace = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  AUTO_FD event = eventfd(0, EFD_CLOEXEC);
  assert_true(descriptor_may_stay(null));
  assert_true(descriptor_may_stay(memory));
  assert_false(descriptor_may_stay(directory));
  assert_false(descriptor_may_stay(path));
  assert_false(descriptor_may_stay(namespace));
  assert_false(descriptor_may_stay(event));
  assert_false(descriptor_may_stay(9999));
  for (size_t i = 0; i < 2; i++) {
    close(ends[i]);
    close(sockets[i]);
  }
}

static void reports(void **state) {
  (void)state;
  int ends[2], streams[2], packets[2];
  struct failure why;
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, streams), 0);
  assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, packets), 0);
  AUTO_FD null = open("/dev/null", O_RDWR | O_CLOEXEC);
  AUTO_FD memory = memfd_create("test", MFD_CLOEXEC);
  AUTO_FD path = open("/dev/null", O_PATH | O_CLOEXEC);
  AUTO_FD network = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(report_take(ends[1], &why));
  assert_true(report_take(streams[0], &why));
  assert_int_equal(fcntl(ends[1], F_GETFD), FD_CLOEXEC);
  assert_int_equal(fcntl(streams[0], F_GETFD), FD_CLOEXEC);
  const int refused[] = {ends[0], packets[0], null, memory, path, network, 9999};
  for (size_t i = 0; i < COUNT_OF(refused); i++) {
    assert_false(report_take(refused[i], &why));
    assert_int_equal(why.code, ERROR_USAGE);
  }
  assert_int_equal(fcntl(ends[0], F_GETFD), 0);
  for (size_t i = 0; i < 2; i++) {
    close(ends[i]);
    close(streams[i]);
    close(packets[i]);
  }
}

static void foreign_owner(void **state) {
  (void)state;
  if (without_root()) return;
  char place[] = "/run/shifter-test-XXXXXX";
  assert_non_null(mkdtemp(place));
  assert_int_equal(chown(place, 54321, 54321), 0);
  AUTO_FD fd = -1;
  AUTO_FREE char *for_root = NULL, *for_other = NULL;
  AUTO_BUFFER wanted = {0}, other = {0};
  buffer_print(&wanted, "%s belongs to uid 54321, not to root", place);
  buffer_print(&other, "%s or uid 5", wanted.at);
  assert_int_equal(walk_protected(place, 0, &fd, &for_root), WALK_UNSAFE);
  assert_string_equal(for_root, wanted.at);
  assert_int_equal(walk_protected(place, 5, &fd, &for_other), WALK_UNSAFE);
  assert_string_equal(for_other, other.at);
  rmdir(place);
}

static void protection(void **state) {
  (void)state;
  struct stat status = {.st_uid = 5, .st_mode = S_IFDIR | 0755};
  assert_true(is_protected(&status, 5));
  assert_false(is_protected(&status, 0));
  assert_false(is_protected(&status, 6));
  status.st_uid = 0;
  assert_true(is_protected(&status, 5));
  status.st_mode = S_IFDIR | 0775;
  assert_false(is_protected(&status, 5));
  status.st_mode = S_IFDIR | 01757;
  assert_false(is_protected(&status, 5));
}

static void walking(void **state) {
  (void)state;
  char place[] = "/tmp/shifter-test-XXXXXX";
  assert_non_null(mkdtemp(place));
  AUTO_FREE char *unsafe = NULL;
  AUTO_FD fd = -1;
  assert_int_equal(walk_protected(place, geteuid(), &fd, &unsafe), WALK_UNSAFE); // below /tmp, where everyone writes
  assert_string_equal(unsafe, "/tmp can be changed by others (mode 1777)");
  AUTO_FREE char *other = NULL;
  assert_int_equal(walk_protected("/usr/nothing/there", 0, &fd, &other), WALK_MISSING);
  AUTO_FREE char *no_directory = NULL;
  assert_int_equal(walk_protected("/etc/passwd/x", 0, &fd, &no_directory), WALK_UNSAFE);
  assert_string_equal(no_directory, "/etc/passwd is a symbolic link or no directory");
  rmdir(place);
}

static void files(void **state) {
  (void)state;
  char place[] = "/tmp/shifter-test-XXXXXX";
  assert_non_null(mkdtemp(place));
  AUTO_FD directory = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  uid_t me = geteuid();
  AUTO_FD made = openat(directory, "good", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  assert_true(write_all(made, "text", 4));
  assert_int_equal(symlinkat("good", directory, "link"), 0);
  assert_int_equal(mkfifoat(directory, "fifo", 0600), 0);
  assert_int_equal(mkdirat(directory, "dir", 0700), 0);
  AUTO_BUFFER content = {0}, none = {0};
  assert_int_equal(open_protected_file(directory, "good", me, 4, &content, NULL), WALK_OK);
  assert_string_equal(content.at, "text");
  assert_int_equal(open_protected_file(directory, "good", me, 3, &none, NULL), WALK_FAILED);
  assert_int_equal(open_protected_file(directory, "good", me + 1, 4, NULL, NULL), WALK_UNSAFE);
  assert_int_equal(open_protected_file(directory, "link", me, 4, NULL, NULL), WALK_UNSAFE);
  assert_int_equal(open_protected_file(directory, "fifo", me, 4, NULL, NULL), WALK_UNSAFE);
  assert_int_equal(open_protected_file(directory, "dir", me, 4, NULL, NULL), WALK_UNSAFE);
  assert_int_equal(open_protected_file(directory, "absent", me, 4, NULL, NULL), WALK_MISSING);
  assert_int_equal(fchmod(made, 0620), 0);
  assert_int_equal(open_protected_file(directory, "good", me, 4, NULL, NULL), WALK_UNSAFE);
  for (const char *const *name = (const char *const[]){"good", "link", "fifo", NULL}; *name != NULL; name++) unlinkat(directory, *name, 0);
  unlinkat(directory, "dir", AT_REMOVEDIR);
  rmdir(place);
}

// In a child, since what is dropped does not come back.
static int drop_in_child(const struct identity *who) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct failure why;
    if (!drop_privileges(who, &why)) _exit(1);
    if (open("/etc/shadow", O_RDONLY | O_CLOEXEC) >= 0) _exit(2);
    _exit(getuid() == who->uid && getgroups(0, NULL) == (int)who->groups.count ? 0 : 3);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void dropping(void **state) {
  (void)state;
  if (without_root()) return;
  struct identity who = {54321, 54322, {0}};
  ids_add(&who.groups, 54323);
  ids_add(&who.groups, 54321);
  assert_int_equal(drop_in_child(&who), 0);
  const struct identity root = {0, 0, {0}}, group = {54321, 0, {0}};
  assert_int_equal(drop_in_child(&root), 1);
  assert_int_equal(drop_in_child(&group), 1);
  identity_free(&who);
}

static bool in_effect(uint32_t sets[static 2]) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct now[2];
  if (syscall(SYS_capget, &header, now) != 0) _exit(3);
  for (size_t i = 0; i < 2; i++) sets[i] = now[i].effective;
  return (sets[0] | sets[1]) != 0;
}

static void file_identity(void **state) {
  (void)state;
  if (without_root()) return;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct failure why;
    struct identity who = {54321, 54322, {0}};
    uint32_t before[2], within[2], after[2];
    bool able = become_root(&why) && in_effect(before);
    if (!able || !file_identity_set(&who, &why) || in_effect(within)) _exit(1);
    int denied = open("/etc/shadow", O_RDONLY | O_CLOEXEC);
    file_identity_root();
    int allowed = open("/etc/shadow", O_RDONLY | O_CLOEXEC);
    bool back = in_effect(after) && memcmp(before, after, sizeof before) == 0;
    _exit(denied < 0 && allowed >= 0 && back ? 0 : 2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

// What a child says is taken to its end; one that was stopped is not waited for, one that ended has nothing more to say.
static void children(void **state) {
  (void)state;
  enum { WRITES, STOPS, ENDS, COUNT };
  for (int kind = WRITES; kind < COUNT; kind++) {
    int ends[2], status = 0;
    AUTO_BUFFER reply = {0};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      bool written = write_all(ends[1], "said", 4);
      if (kind == STOPS) raise(SIGSTOP);
      if (kind == ENDS) raise(SIGKILL);
      _exit(written ? 0 : 1);
    }
    close(ends[1]);
    assert_int_equal(pipe_read(ends[0], child, 600, 4, &reply), kind != STOPS);
    assert_string_equal(reply.at, "said");
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    close(ends[0]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(descriptor_kinds), cmocka_unit_test(reports), cmocka_unit_test(protection),
                                     cmocka_unit_test(walking), cmocka_unit_test(foreign_owner),
                                     cmocka_unit_test(children), cmocka_unit_test(files), cmocka_unit_test(dropping), cmocka_unit_test(file_identity)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
