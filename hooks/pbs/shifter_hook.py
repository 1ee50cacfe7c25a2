"""
Runs jobs of OpenPBS and PBS Professional inside the image that they ask for: qsub -l shifter_image=docker:debian:12 job.sh

One hook for eight events. A job that asked for an image never runs outside of it, so each event assumes that another one failed:

  queuejob, modifyjob   the request is checked and its image pinned, with a message that the user sees; the job's shell, or its program, becomes
                        the wrapper (libexec/shifter/shifter-pbs), which starts what it stands for inside the image, or nothing
  execjob_begin         on every node, before anything of the job: what was asked for is written down for the wrapper, and the root is prepared
  execjob_launch        every task becomes one of the wrapper's; when this event is skipped, the job's own shell still is the wrapper
  execjob_epilogue, execjob_end, execjob_abort
                        roots are taken down; doing it again changes nothing
  exechost_periodic     what a crash left is removed, processes outside of their job's root are ended, a node that can't run images is set offline

Python 3.6 and later, standard library only. Nothing of a user's is read by a shell, and no image is pulled. How PBS behaves where it surprises
is said at the place that has to mind it.
"""
import contextlib
import errno
import fcntl
import grp
import json
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from urllib.parse import quote

import pbs

CONFIG_VERSION = 1
STATE_KIND, STATE_VERSION = "shifter-pbs", 1
IMAGE, VOLUMES, MODULES, WRITABLE = "shifter_image", "shifter_volumes", "shifter_modules", "shifter_writable"
RESOURCES = (IMAGE, VOLUMES, MODULES, WRITABLE)
JOB_ID = re.compile(r"[A-Za-z0-9_@\[\]-][A-Za-z0-9._@\[\]-]{0,127}\Z")
PINNED = re.compile(r"id:[0-9a-f]{64}\Z")
ARGUMENT = re.compile(r"<jsdl-hpcpa:Argument>(.*?)</jsdl-hpcpa:Argument>", re.DOTALL)
ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
# Shell_Path_List holds the wrapper for every host, and for a host that can't be (RFC 2606) the shell that the user chose, for begin to read.
CHOSEN = "@chosen.invalid"
WRAPPER = "/libexec/shifter/shifter-pbs"
MARK = "shifter: this node can't run images: "
LOCK_SECONDS = 20.0
ORPHAN_SECONDS = 300.0


class Refused(Exception):
    """What was asked for can't be; its text is for the user."""


class NodeFault(Exception):
    """This node can't run images; another one may."""


class Outcome:
    """What the event is told: that the hook accepts, or why it rejects."""

    def __init__(self, refusal=None):
        self.refusal = refusal


ACCEPTED = Outcome()


# Reading what PBS gives. A name that an object does not have raises an error of PBS's own, no AttributeError, so hasattr is of no use.

def read(thing, name):
    try:
        return getattr(thing, name)
    except Exception:
        return None


def item(table, name):
    """A value as text; None where there is none, or where PBS does not know the name."""
    try:
        value = None if table is None else table[name]
    except (AttributeError, LookupError):
        return None
    return None if value is None else str(value)


def asked(job):
    """The job's resources of ours; None for one that is not set. What can't be read is an error: it would look like a job without an image."""
    table = job.Resource_List
    return {name: item(table, name) for name in RESOURCES}


def job_id(job):
    name = str(job.id)
    if not JOB_ID.match(name):
        raise Refused("the job's id %r is none" % name)
    return name


def shells(value):
    """The shells of a Shell_Path_List: that of every host, and that which the user chose."""
    words = [word.strip() for word in str(value or "").split(",") if word.strip()]
    every = [word for word in words if "@" not in word]
    chosen = [word[: -len(CHOSEN)] for word in words if word.endswith(CHOSEN)]
    return (every[0] if every else None), (chosen[0] if chosen else None)


def one_line(text):
    return "shifter: " + "".join(c if c.isprintable() else "?" for c in text)


def is_wrapped(job):
    """Whether the job went through queuejob with an image: so says its shell too, where a node does not know the resources yet."""
    every = shells(read(job, "Shell_Path_List"))[0]
    return every is not None and every.endswith(WRAPPER)


def log(text, job=None):
    """Into the daemon's log; by syslog where PBS was built with a Python (3.10 and later) with which its own functions raise SystemError."""
    line = one_line(text)
    try:
        if job is None:
            pbs.logmsg(pbs.LOG_ERROR, line)
        else:
            pbs.logjobmsg(job, line)
    except Exception:
        # Not by the module syslog, which would change how the whole daemon is named there.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
            syslog.setblocking(False)
            syslog.sendto(("<27>pbs[%d]: %s%s" % (os.getpid(), job + ": " if job else "", line)).encode("utf-8", "replace"), "/dev/log")


# The site's settings, which `shifter-gateway wlm render pbs` writes.

class Site:
    def __init__(self, settings):
        if settings.get("version") != CONFIG_VERSION:
            raise Refused("the hook's configuration is of version %r, and this hook knows %d: import both of one rendering"
                          % (settings.get("version"), CONFIG_VERSION))
        prefix = settings["prefix"]
        self.shifter = prefix + "/bin/shifter"
        self.check = prefix + "/bin/shifter-check"
        self.setup = prefix + "/sbin/setupRoot"
        self.unsetup = prefix + "/sbin/unsetupRoot"
        self.wrapper = prefix + WRAPPER
        self.run = settings["runDirectory"]
        self.seconds = float(settings["seconds"])
        self.hosts = frozenset(settings.get("excludeHosts", ()))
        self.vntypes = frozenset(settings.get("excludeVntypes", ()))

    def excludes(self, event):
        host = pbs.get_local_nodename()
        vnode = item_of(read(event, "vnode_list"), host)
        kind = item(read(vnode, "resources_available"), "vntype")
        return host in self.hosts or host.split(".")[0] in self.hosts or (kind is not None and not self.vntypes.isdisjoint(kind.split(",")))


def item_of(table, name):
    try:
        return table[name]
    except Exception:
        return None


def load_site():
    name = read(pbs, "hook_config_filename")
    if not name:
        raise Refused("the hook has no configuration: import hook shifter application/x-config default FILE")
    with open(name, encoding="utf-8") as file:
        return Site(json.load(file))


# Programs: argument vectors, no shell, a fixed environment, a bounded time.

def run(arguments, seconds):
    """Status, output and error of a program; it and all that it started are ended when the time is over, or the hook's own is."""
    try:
        # As bytes, since the daemon's locale may know ASCII alone.
        words = [word.encode("utf-8", "surrogateescape") for word in arguments]
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True, cwd="/",
                                 env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}, start_new_session=True)
    except OSError as error:
        raise NodeFault("%s can't be run: %s" % (arguments[0], error.strerror))
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise NodeFault("%s was not done after %d seconds" % (arguments[0], seconds))
    finally:
        if child.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def said(program, err):
    """The last line of a program, without its name."""
    lines = err.strip().splitlines() or ["it said nothing"]
    name = os.path.basename(program) + ": "
    return lines[-1][len(name):] if lines[-1].startswith(name) else lines[-1]


# The request.

class Request:
    """What a job asks for, in the words of shifter."""

    def __init__(self, values):
        self.image = values[IMAGE]
        self.volumes = split(values[VOLUMES], ";")
        self.modules = None if not values[MODULES] else ",".join(split(values[MODULES].replace(";", ","), ","))
        self.writable = False
        for path in split(values[WRITABLE], ";"):
            if path == "/":
                self.writable = True
                continue
            place, colon, size = path.rpartition(":")
            if not colon or not place.startswith("/") or ":" in place or not re.match(r"[0-9A-Za-z.]+\Z", size):
                raise Refused("%s=%s: write PATH:SIZE, such as /scratch:20G, or / for the whole root" % (WRITABLE, path))
            self.volumes.append("%s:%s:perNodeCache=size=%s" % (place, place, size))

    def options(self):
        options = ["--volume=" + volume for volume in self.volumes]
        return options if self.modules is None else options + ["--module=" + self.modules]


def split(value, separator):
    return [word.strip() for word in (value or "").split(separator) if word.strip()]


def name_of(kind, value, default):
    """The one user or group of a User_List or Group_List."""
    names = {word.split("@")[0].strip() for word in str(value or "").split(",") if word.strip()}
    if len(names) > 1:
        raise Refused("a job with an image names one %s, not several" % kind)
    return names.pop() if names else default


def account(user, group):
    """uid and gid by name, or as numbers."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise Refused("there is no account %s on %s" % (user, pbs.get_local_nodename()))
    if not group:
        return entry.pw_uid, entry.pw_gid
    try:
        return entry.pw_uid, grp.getgrnam(group).gr_gid
    except KeyError:
        if group.isdigit():
            return entry.pw_uid, int(group)
        raise Refused("there is no group %s on %s" % (group, pbs.get_local_nodename()))


def asker(user, groups):
    """uid and gid of a job that is submitted. PBS looks at the group after queuejob, and a private image is told of to nobody else."""
    group = name_of("group", groups, None)
    uid, gid = account(user, group)
    if group and gid not in os.getgrouplist(user, pwd.getpwnam(user).pw_gid):
        raise Refused("%s is not in the group %s" % (user, group))
    return uid, gid


def pin(site, request, uid, gid):
    """The image's id, once volumes and modules are such as the site takes."""
    try:
        status, out, err = run([site.check, "request"] + request.options(), site.seconds)
        if status != 0:
            raise Refused(complaint(out) or said(site.check, err))
        status, out, err = run([site.setup, "-U", str(uid), "-G", str(gid), "--resolve=" + request.image], site.seconds)
    except NodeFault as fault:
        raise Refused("the image can't be looked up now: %s" % fault)
    if status != 0:
        raise Refused(said(site.setup, err))
    image = "id:" + out.strip()
    if not PINNED.match(image):
        raise Refused("%s answered %r, which is no image id" % (site.setup, out[:80]))
    return image


def complaint(out):
    try:
        error = json.loads(out)["error"]
        return ("%s: %s. %s" % (error["code"], error["message"].rstrip("."), error.get("remedy", ""))).rstrip()
    except (ValueError, KeyError, TypeError):
        return None


# Submission. The server runs this for every qsub and qalter, so a job that asks for nothing costs nothing.

def wrap_shell(site, job, given):
    """The job's shell becomes the wrapper, which a launch hook that dies can't change."""
    # A node starts the shell of its own host before that of every host, so it would not be the wrapper.
    words = [word.strip() for word in str(given or "").split(",") if word.strip()]
    for word in words:
        if "@" in word and not word.endswith(CHOSEN):
            raise Refused("the shell %s of -S is for one host, and a job with an image has one for all: -S %s" % (word, word.split("@")[0] or "/bin/sh"))
    every, chosen = shells(given)
    if every == site.wrapper or every is None:
        every = chosen
    if every is not None and not (every.startswith("/") and every.isprintable() and "," not in every):
        raise Refused("the shell %s of -S is no absolute path" % every)
    job.Shell_Path_List = pbs.path_list(site.wrapper if every is None else "%s,%s%s" % (site.wrapper, every, CHOSEN))


def wrap_program(site, job, program, arguments):
    """A program in place of a script (qsub -- program) likewise. Its arguments are encoded: PBS cuts them at a line feed."""
    if not program:
        return
    words = [unescape(word) for word in ARGUMENT.findall(str(arguments or ""))]
    if str(program) == site.wrapper and words[:1] == ["--encoded"]:
        return
    words = [quote(word.encode("utf-8", "surrogateescape"), safe="/") for word in [str(program)] + words]
    job.executable = site.wrapper
    job.argument_list = "".join("<jsdl-hpcpa:Argument>%s</jsdl-hpcpa:Argument>" % word for word in ["--encoded"] + words)


def unescape(word):
    for entity, character in ENTITIES:
        word = word.replace(entity, character)
    return word


def on_queuejob(event):
    job = event.job
    values = asked(job)
    if not any(values.values()):
        return ACCEPTED
    if not values[IMAGE]:
        raise Refused("%s is given without %s" % (next(name for name in RESOURCES if values[name]), IMAGE))
    site = load_site()
    owner = str(read(job, "Job_Owner") or event.requestor).split("@")[0]
    user = name_of("user", read(job, "User_List"), owner)
    uid, gid = asker(user, read(job, "group_list"))
    job.Resource_List[IMAGE] = pin(site, Request(values), uid, gid)
    wrap_shell(site, job, read(job, "Shell_Path_List"))
    wrap_program(site, job, read(job, "executable"), read(job, "argument_list"))
    return ACCEPTED


def on_modifyjob(event):
    job, before = event.job, event.job_o
    given, had = asked(job), asked(before)
    told = {name: read(job, name) for name in ("Shell_Path_List", "executable", "argument_list", "User_List", "group_list")}
    changes = [name for name in RESOURCES if given[name] is not None]
    if not changes and (not had[IMAGE] or not any(value is not None for value in told.values())):
        return ACCEPTED
    values = {name: had[name] if given[name] is None else given[name] for name in RESOURCES}
    if not values[IMAGE]:
        if had[IMAGE]:
            raise Refused("a job's image can be exchanged, but not taken away: delete the job and submit it again")
        if any(values.values()):
            raise Refused("%s is given without %s" % (next(name for name in RESOURCES if values[name]), IMAGE))
        return ACCEPTED
    if changes and read(before, "job_state") in (pbs.JOB_STATE_RUNNING, pbs.JOB_STATE_EXITING):
        raise Refused("%s can't be changed while the job runs" % changes[0])
    site = load_site()
    user = name_of("user", told["User_List"] or read(before, "User_List"), str(read(before, "Job_Owner") or event.requestor).split("@")[0])
    uid, gid = asker(user, told["group_list"] or read(before, "group_list"))
    pinned = pin(site, Request(values), uid, gid)
    if changes or pinned != had[IMAGE]:
        job.Resource_List[IMAGE] = pinned
    shell = told["Shell_Path_List"] if told["Shell_Path_List"] is not None else read(before, "Shell_Path_List")
    wrap_shell(site, job, shell)
    if told["executable"] or told["argument_list"] or str(read(before, "executable") or site.wrapper) != site.wrapper:
        wrap_program(site, job, told["executable"] or read(before, "executable"), told["argument_list"] or read(before, "argument_list"))
    return ACCEPTED


# What a node keeps of a job: RUN/pbs/jobs/JOB, a field file (formats/README.md), and a lock RUN/pbs/locks/JOB.

def place(site, *parts):
    return os.path.join(site.run, "pbs", *parts)


def make_places(site):
    for directory, mode in ((site.run, 0o711), (place(site), 0o711), (place(site, "jobs"), 0o711), (place(site, "locks"), 0o700)):
        try:
            os.mkdir(directory, mode)
            os.chmod(directory, mode)
        except FileExistsError:
            pass


@contextlib.contextmanager
def locked(site, job):
    """
    One event of a job at a time: the end of a run works beside the begin of the next one, which has the same id. A lock's file is removed by
    who holds it, so one that was waited for may be gone.
    """
    name, deadline = place(site, "locks", job), time.monotonic() + LOCK_SECONDS
    while True:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if same_file(lock, name):
                break
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                os.close(lock)
                raise
        os.close(lock)
        if time.monotonic() > deadline:
            raise NodeFault("another event of job %s is not done" % job)
        time.sleep(0.02)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)
        os.close(lock)


def same_file(descriptor, name):
    try:
        there, held = os.stat(name, follow_symlinks=False), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def write_state(site, job, fields, gid):
    """Replaces the job's file; it is for root and the job's group, since a site may hide what others run."""
    content = ("%s %d\n" % (STATE_KIND, STATE_VERSION)).encode()
    for key, value in fields:
        encoded = str(value).encode("utf-8", "surrogateescape")
        content += key.encode() + b" %d:" % len(encoded) + encoded + b"\n"
    name = place(site, "jobs", job)
    temporary = place(site, "locks", job + ".new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(content + b"end\n")
        out.flush()
        os.fchown(out.fileno(), 0, gid)
        os.fchmod(out.fileno(), 0o640)
    os.rename(temporary, name)


def read_state(site, job):
    """The fields of a job's file as text: of any version, since a hook is replaced while jobs run. None where there is no file."""
    try:
        with open(place(site, "jobs", job), "rb") as file:
            content = file.read(4 << 20)
    except FileNotFoundError:
        return None
    fields, at = {}, content.find(b"\n") + 1
    while at > 0:
        match = re.compile(rb"([a-z][a-z0-9-]*) ([0-9]{1,9}):").match(content, at)
        if match is None:
            break
        start, length = match.end(), int(match.group(2))
        fields[match.group(1).decode()] = content[start:start + length].decode("utf-8", "replace")
        at = start + length + 1
    return fields


def number(value):
    text = str(value) if value is not None else ""
    return int(text) if text.isdigit() else None


# Before a job.

def chunks(job):
    """HOST/TASKS of the job's chunks, for /var/hostsfile; nothing where PBS tells it in another form."""
    places = re.findall(r"\(([^:()+]+)[^()]*\)", str(read(job, "exec_vnode") or ""))
    tasks = []
    for part in str(read(job, "schedselect") or "").split("+"):
        words = part.split(":")
        count = int(words[0]) if words[0].isdigit() else 1
        ranks = [word[len("mpiprocs="):] for word in words if word.startswith("mpiprocs=")]
        tasks += [ranks[0] if ranks and ranks[0].isdigit() else "1"] * min(count, len(places) + 1)
    if not places or len(tasks) != len(places):
        return []
    hosts = {}
    for vnode, ranks in zip(places, tasks):
        host = vnode.split("[")[0]
        hosts[host] = hosts.get(host, 0) + int(ranks)
    return ["--nodes=" + " ".join("%s/%d" % each for each in hosts.items())]


def usable(site):
    """Without these a job would fail on this node, and only here."""
    for program in (site.wrapper, site.shifter, site.setup):
        try:
            status = os.stat(program)
        except OSError as error:
            raise NodeFault("%s: %s" % (program, error.strerror))
        if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o111:
            raise NodeFault("%s is no program" % program)


def on_begin(event):
    job = event.job
    values = asked(job)
    if not any(values.values()):
        if is_wrapped(job):
            raise NodeFault("this node is not told which image the job asked for")
        return ACCEPTED
    name, site = job_id(job), load_site()
    every, chosen = shells(read(job, "Shell_Path_List"))
    program = read(job, "executable")
    if not PINNED.match(values[IMAGE] or "") or every != site.wrapper or (program and str(program) != site.wrapper):
        # It came past queuejob: the hook was off, or a queue has a default. Another node would say the same.
        job.delete()
        raise Refused("the job's request was not checked when it was submitted; submit it again")
    if site.excludes(event):
        raise NodeFault("the site runs no images on this node")
    try:
        usable(site)
    except NodeFault as fault:
        offline(event, str(fault))
        raise
    request = Request(values)
    # PBS writes -default- where the account's group has no name.
    uid, gid = account(str(job.euser), str(read(job, "egroup") or "").replace("-default-", ""))
    make_places(site)
    with locked(site, name):
        take_down(site, name)
        fields = [("job", name), ("uid", uid), ("image", request.image)] + [("volume", volume) for volume in request.volumes]
        fields += [] if request.modules is None else [("modules", request.modules)]
        fields += [("writable", "yes")] if request.writable else []
        fields += [("shell", chosen)] if chosen else []
        fields += [("run", read(job, "run_count") or 0)]
        write_state(site, name, fields, gid)
        prepare(site, name, request, uid, gid, chunks(job))
    return ACCEPTED


def prepare(site, name, request, uid, gid, nodes):
    """A root that can't be prepared is no reason to fail: the wrapper builds its own, or tells the user what setupRoot tells here."""
    try:
        kind, image = request.image.split(":", 1)
        arguments = [site.setup, "-U", str(uid), "-G", str(gid), "--job=" + name, "--run-directory=" + site.run] + request.options() + nodes
        status, _, err = run(arguments + ["--", kind, image], site.seconds)
        if status != 0:
            log("the root was not prepared: " + said(site.setup, err), name)
    except NodeFault as fault:
        log("the root was not prepared: %s" % fault, name)


def on_launch(event):
    """
    PBS puts "-" and the program's name in place of argv[0] where it starts a login shell, and cuts what a hook sets in the environment at
    commas. So neither is used: the wrapper reads the request from the job's file.
    """
    if not asked(event.job)[IMAGE] and not is_wrapped(event.job):
        return ACCEPTED
    site = load_site()
    program, arguments = str(event.progname), [str(word) for word in event.argv]
    if program == site.wrapper:
        return ACCEPTED
    event.progname = site.wrapper
    event.argv = [site.wrapper] + (["--", program] + arguments[1:] if arguments else [])
    return ACCEPTED


# After a job.

def take_down(site, name):
    status, _, err = run([site.unsetup, "--job=" + name, "--run-directory=" + site.run], site.seconds)
    if status != 0:
        raise NodeFault(said(site.unsetup, err))


def on_end(event):
    job = event.job
    name, site = job_id(job), load_site()
    if not any(asked(job).values()) and not os.path.lexists(place(site, "jobs", name)):
        return ACCEPTED
    make_places(site)
    with locked(site, name):
        state, run_count = read_state(site, name) or {}, number(read(job, "run_count"))
        there = number(state.get("run"))
        if there is not None and run_count is not None and there > run_count:
            return ACCEPTED  # the job was started again, and what is here is the new run's
        take_down(site, name)
        forget(site, name)
    return ACCEPTED


def forget(site, name):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place(site, "jobs", name))


# Now and then.

def on_periodic(event):
    site = load_site()
    try:
        jobs = set(str(name) for name in event.job_list.keys())
    except Exception as error:
        log("PBS does not tell which jobs run here (%s), so nothing is removed" % type(error).__name__)
        return ACCEPTED
    for name in kept(site):
        with contextlib.suppress(NodeFault):
            if name in jobs:
                end_outside(site, name)
            else:
                remove_orphan(site, name)
    if not site.excludes(event):
        watch_node(site, event)
    return ACCEPTED


def kept(site):
    try:
        return sorted(name for name in os.listdir(place(site, "jobs")) if JOB_ID.match(name))
    except FileNotFoundError:
        return []


def remove_orphan(site, name):
    """
    The list of jobs was made before this hook ran, so a job may have begun since: nothing young is removed, nor what pbs_mom still has a file
    of, nor what has a process.
    """
    with locked(site, name):
        try:
            age = time.time() - os.stat(place(site, "jobs", name)).st_mtime
        except FileNotFoundError:
            return
        state = read_state(site, name) or {}
        if age < ORPHAN_SECONDS or known_to_mom(name) or any(True for _ in processes(name, number(state.get("uid")))):
            return
        log("what a crash left of job %s is removed" % name)
        take_down(site, name)
        forget(site, name)


def pbs_path(key, default):
    return str((read(pbs, "pbs_conf") or {}).get(key) or default)


def known_to_mom(name):
    home = pbs_path("PBS_MOM_HOME", pbs_path("PBS_HOME", "/var/spool/pbs"))
    return os.path.exists(os.path.join(home, "mom_priv", "jobs", name + ".JB"))


def processes(name, uid):
    """Ids and start times of a job's processes: its user's, with its id in their environment."""
    wanted = b"PBS_JOBID=" + name.encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            status = os.stat("/proc/" + entry)
            if status.st_uid == 0 or (uid is not None and status.st_uid != uid):
                continue
            started = start_time(entry)
            with open("/proc/%s/environ" % entry, "rb") as file:
                if wanted in file.read().split(b"\0"):
                    yield int(entry), started
        except OSError:
            continue  # it ended


def start_time(process):
    with open("/proc/%s/stat" % process, "rb") as file:
        return file.read().rpartition(b")")[2].split()[19]


def end_process(process, started):
    """Ends the process that began then, and no later one of the same id; Python before 3.9 has no handle that makes sure of it to the last."""
    handle = os.pidfd_open(process) if hasattr(os, "pidfd_open") else None
    try:
        if start_time(str(process)) != started:
            return False
        if handle is None:
            os.kill(process, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    finally:
        if handle is not None:
            os.close(handle)


def end_outside(site, name):
    """A task whose launch event was skipped runs on the node itself. Programs of PBS and our own on their way inside do so rightly."""
    state = read_state(site, name) or {}
    uid = number(state.get("uid"))
    if uid is None:
        return
    here = os.stat("/")
    allowed = (os.path.realpath(pbs_path("PBS_EXEC", "/opt/pbs")) + "/", os.path.realpath(site.wrapper), os.path.realpath(site.shifter))
    for process, started in processes(name, uid):
        try:
            root = os.stat("/proc/%d/root" % process)
            program = os.readlink("/proc/%d/exe" % process)
            if (root.st_dev, root.st_ino) != (here.st_dev, here.st_ino) or program.startswith(allowed):
                continue
            if end_process(process, started):
                log("process %d (%s) ran outside of the job's image and was ended" % (process, program), name)
        except OSError:
            continue


# The node's own mark. A node that somebody else set offline is left alone: whose mark it is, its comment says.

def mark_file():
    return os.path.join(pbs_path("PBS_MOM_HOME", pbs_path("PBS_HOME", "/var/spool/pbs")), "mom_priv", "shifter-offline")


def own_vnodes(event):
    host = pbs.get_local_nodename()
    try:
        names = list(event.vnode_list.keys())
    except Exception:
        return []
    return [name for name in names if name == host or name.startswith(host + "[")]


def comment_of(vnode):
    return str(read(pbs.server().vnode(vnode), "comment") or "")


def watch_node(site, event):
    try:
        usable(site)
        status, out, err = run([site.check, "node"], site.seconds)
        fault = None if status == 0 else failing(out) or said(site.check, err)
    except NodeFault as error:
        fault = str(error)
    if fault is not None:
        offline(event, fault)
    elif os.path.exists(mark_file()):
        online(event)


def failing(out):
    try:
        return "; ".join("%s: %s" % (check["name"], check["detail"]) for check in json.loads(out)["checks"] if not check["ok"] and not check.get("advice"))
    except (ValueError, KeyError, TypeError):
        return None


def offline(event, fault):
    """Sets this node's vnodes offline, but for those that somebody else has said something of."""
    log(MARK + fault)
    try:
        for name in own_vnodes(event):
            if comment_of(name) == "":
                event.vnode_list[name].state = pbs.ND_OFFLINE
                event.vnode_list[name].comment = (MARK + fault)[:400]
        with open(mark_file(), "w", encoding="utf-8") as file:
            file.write(fault + "\n")
    except Exception as error:
        log("the node could not be set offline: %s" % type(error).__name__)


def online(event):
    for name in own_vnodes(event):
        if comment_of(name).startswith(MARK):
            event.vnode_list[name].state = pbs.ND_FREE
            event.vnode_list[name].comment = None
    os.unlink(mark_file())


# Deciding. accept() and reject() end the hook by SystemExit, so they stand outside of what catches everything: a hook that ends otherwise than
# by them or an exception is taken for one that accepts.

HANDLERS = {
    "QUEUEJOB": on_queuejob,
    "MODIFYJOB": on_modifyjob,
    "EXECJOB_BEGIN": on_begin,
    "EXECJOB_LAUNCH": on_launch,
    "EXECJOB_EPILOGUE": on_end,
    "EXECJOB_END": on_end,
    "EXECJOB_ABORT": on_end,
    "EXECHOST_PERIODIC": on_periodic,
}
# A failure of these harms nobody's job: what is left to do, the next of them does.
FORGIVING = (on_end, on_periodic)


def decide(event):
    handler = None
    try:
        kind = event.type
        handler = next((each for name, each in HANDLERS.items() if getattr(pbs, name, None) == kind), None)
        if handler is None:
            return ACCEPTED
        return handler(event)
    except (Refused, NodeFault) as refusal:
        reason = str(refusal)
    except BaseException as error:
        # The alarm's KeyboardInterrupt and SystemExit of a library too.
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        reason = "INTERNAL: %s in line %d of the hook: %s" % (type(error).__name__, frame.tb_lineno if frame else 0, error)
    if handler in FORGIVING:
        log(reason)
        return ACCEPTED
    return Outcome(reason)


def main():
    event = pbs.event()
    outcome = decide(event)
    if outcome.refusal is None:
        event.accept()
    text = one_line(outcome.refusal)
    log(outcome.refusal)
    if event.type == pbs.EXECJOB_LAUNCH:
        # What a hook rejects with, no user sees; what it prints here is in the job's output.
        with contextlib.suppress(Exception):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
    event.reject(text)


main()
