#include "disk/confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define FOREIGN_CALLS UINT32_C(0x40000000) // x32
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define FOREIGN_CALLS UINT32_MAX
#endif

#define NEW_SPACES (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)
#define MOST_PROCESSES 128
#define MEMORY_BESIDES ((uint64_t)512 << 20) // of address space, for the kernel's own program and what it maps twice

// Neither a kernel in a process nor who reads a tree has a use for these, and they are where most holes of the host's were found.
static const int refused[] = {SYS_unshare, SYS_setns, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree, SYS_move_mount, SYS_fsopen,
  SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_bpf, SYS_perf_event_open, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
  SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module,
  SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_process_vm_readv, SYS_process_vm_writev, SYS_memfd_create, SYS_memfd_secret, SYS_splice, SYS_tee,
  SYS_vmsplice, SYS_sendmmsg, SYS_recvmmsg, SYS_quotactl, SYS_swapon, SYS_swapoff, SYS_reboot, SYS_acct, SYS_syslog, SYS_clone3};

// Whoever started this may have less already.
static bool limit(int which, uint64_t most) {
  struct rlimit limits;
  if (getrlimit((__rlimit_resource_t)which, &limits) != 0) return false;
  if (limits.rlim_max == RLIM_INFINITY || limits.rlim_max > most) limits.rlim_max = most;
  limits.rlim_cur = limits.rlim_max;
  return setrlimit((__rlimit_resource_t)which, &limits) == 0;
}

static bool drop_rights(uint64_t kept) {
  const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  const uint32_t low = (uint32_t)kept, high = (uint32_t)(kept >> 32);
  const struct __user_cap_data_struct left[2] = {{.effective = low, .permitted = low}, {.effective = high, .permitted = high}};
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return false;
  return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 && syscall(SYS_capset, &header, left) == 0 &&
         prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

#if defined(ARCHITECTURE)
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (unsigned)(value))
#define IF(test, value, yes, no) BPF_JUMP(BPF_JMP | (test) | BPF_K, (unsigned)(value), (yes), (no))

// Another user namespace would give every right back, over a network of its own at least; and each family of sockets is a part of the host's kernel,
// of which some, a hypervisor's among them, know nothing of namespaces. The low half of an argument comes first on both architectures.
static const struct sock_filter first[] = {
  LOAD(arch),
  IF(BPF_JEQ, ARCHITECTURE, 1, 0),
  ANSWER(SECCOMP_RET_KILL_PROCESS),
  LOAD(nr),
  IF(BPF_JGE, FOREIGN_CALLS, 0, 1),
  ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
  IF(BPF_JEQ, SYS_clone, 0, 4),
  LOAD(args[0]),
  IF(BPF_JSET, NEW_SPACES, 0, 1),
  ANSWER(SECCOMP_RET_ERRNO | EPERM),
  ANSWER(SECCOMP_RET_ALLOW),
  IF(BPF_JEQ, SYS_socket, 1, 0),
  IF(BPF_JEQ, SYS_socketpair, 0, 4),
  LOAD(args[0]),
  IF(BPF_JEQ, AF_UNIX, 0, 1),
  ANSWER(SECCOMP_RET_ALLOW),
  ANSWER(SECCOMP_RET_ERRNO | EAFNOSUPPORT),
};
#endif

static bool filter_calls(void) {
#if defined(ARCHITECTURE)
  struct sock_filter code[COUNT_OF(first) + COUNT_OF(refused) + 2];
  unsigned n = COUNT_OF(first);
  memcpy(code, first, sizeof first);
  for (size_t i = 0; i < COUNT_OF(refused); i++) code[n++] = (struct sock_filter)IF(BPF_JEQ, refused[i], (unsigned char)(COUNT_OF(refused) - i), 0);
  code[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
  code[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ERRNO | ENOSYS);
  const struct sock_fprog program = {(unsigned short)n, code};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
#else
  return true;
#endif
}

static bool no(struct failure *why) {
  return fail(why, ERROR_READER_FAILED, "the reader can't be confined: %s", strerror(errno));
}

bool confine_use(const struct confinement *confinement, struct failure *why) {
  bool limited = limit(RLIMIT_CORE, 0) && limit(RLIMIT_FSIZE, confinement->file_most) && limit(RLIMIT_CPU, confinement->seconds) &&
                 limit(RLIMIT_NOFILE, confinement->descriptors) && limit(RLIMIT_NPROC, MOST_PROCESSES) && limit(RLIMIT_MEMLOCK, 0) &&
                 limit(RLIMIT_AS, (confinement->memory << 20) + MEMORY_BESIDES);
  return limited || no(why);
}

bool confine_rights(uint64_t kept, struct failure *why) {
  return (drop_rights(kept) && filter_calls()) || no(why);
}
