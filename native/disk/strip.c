#include "disk/strip.h"

#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

const struct strip_rule strip_rules[] = {
  // Nodes and mounts of a running system.
  {"dev", STRIP_CONTENTS}, {"proc", STRIP_CONTENTS}, {"sys", STRIP_CONTENTS}, {"run", STRIP_CONTENTS}, {"tmp", STRIP_CONTENTS},
  {"var/tmp", STRIP_CONTENTS}, {"lost+found", STRIP_ENTRY},
  // Its kernel and how it starts.
  {"boot", STRIP_CONTENTS}, {"lib/modules", STRIP_CONTENTS}, {"usr/lib/modules", STRIP_CONTENTS}, {"lib/firmware", STRIP_CONTENTS},
  {"usr/lib/firmware", STRIP_CONTENTS},
  {"etc/fstab", STRIP_ENTRY}, {"etc/crypttab", STRIP_ENTRY}, {"etc/mtab", STRIP_ENTRY},
  {"swapfile", STRIP_ENTRY}, {"swap.img", STRIP_ENTRY}, {".swapfile", STRIP_ENTRY}, {"swap/swapfile", STRIP_ENTRY}, {"var/swap", STRIP_ENTRY},
  {"var/swapfile", STRIP_ENTRY}, {"var/swap.img", STRIP_ENTRY},
  // Which machine it is, and its network.
  {"etc/machine-id", STRIP_ENTRY}, {"var/lib/dbus/machine-id", STRIP_ENTRY}, {"etc/hostname", STRIP_ENTRY}, {"etc/hosts", STRIP_ENTRY},
  {"etc/resolv.conf", STRIP_ENTRY}, {"etc/udev/rules.d/70-persistent-net.rules", STRIP_ENTRY}, {"etc/udev/rules.d/70-persistent-cd.rules", STRIP_ENTRY},
  {"etc/sysconfig/network-scripts/ifcfg-*", STRIP_ENTRY}, {"etc/sysconfig/network/ifcfg-*", STRIP_ENTRY}, {"etc/netplan", STRIP_CONTENTS},
  {"etc/NetworkManager/system-connections", STRIP_CONTENTS}, {"etc/network/interfaces", STRIP_ENTRY}, {"etc/network/interfaces.d", STRIP_CONTENTS},
  {"etc/systemd/network", STRIP_CONTENTS}, {"var/lib/cloud", STRIP_CONTENTS},
  // Secrets.
  {"etc/ssh/ssh_host_*", STRIP_ENTRY}, {"etc/shadow", STRIP_ENTRY}, {"etc/shadow-", STRIP_ENTRY}, {"etc/gshadow", STRIP_ENTRY},
  {"etc/gshadow-", STRIP_ENTRY}, {"etc/security/opasswd", STRIP_ENTRY}, {"root/.ssh", STRIP_ENTRY}, {"etc/krb5.keytab", STRIP_ENTRY},
  {"etc/munge/munge.key", STRIP_ENTRY}, {"var/lib/systemd/random-seed", STRIP_ENTRY}, {"var/lib/systemd/credential.secret", STRIP_ENTRY},
  {"var/lib/random-seed", STRIP_ENTRY}, {"var/lib/urandom/random-seed", STRIP_ENTRY},
  // What it wrote down and can fetch again.
  {"var/log", STRIP_FILES}, {"var/cache/apt/archives", STRIP_CONTENTS}, {"var/cache/apt/*.bin", STRIP_ENTRY}, {"var/lib/apt/lists", STRIP_CONTENTS},
  {"var/cache/yum", STRIP_CONTENTS}, {"var/cache/dnf", STRIP_CONTENTS}, {"var/cache/zypp", STRIP_CONTENTS}, {"var/cache/pacman/pkg", STRIP_CONTENTS},
};
const size_t strip_rule_count = COUNT_OF(strip_rules);

// Whether the path lies below what the pattern, which then has no wildcard, names.
static bool is_below(const char *path, const char *directory) {
  size_t length = strlen(directory);
  return strncmp(path, directory, length) == 0 && path[length] == '/';
}

static bool applies(const struct strip_rule *rule, const char *path, mode_t mode) {
  switch (rule->strip) {
    case STRIP_ENTRY: return fnmatch(rule->pattern, path, FNM_PATHNAME) == 0;
    case STRIP_CONTENTS: return is_below(path, rule->pattern);
    case STRIP_FILES: return !S_ISDIR(mode) && is_below(path, rule->pattern);
    case STRIP_NOTHING: break;
  }
  return false;
}

int strip_match(const char *path, mode_t mode) {
  for (size_t i = 0; i < strip_rule_count; i++)
    if (applies(&strip_rules[i], path, mode)) return (int)i;
  return -1;
}
