"""
A PBS complex of one node for a hook's tests: what the server and pbs_mom do with a job and its hook's outcomes, as was seen on OpenPBS 23.06.
Jobs really run: by the programs, as the users and with the arguments that pbs_mom would use.
"""
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RETRIES = 21
# How a hook can go wrong, put in front of it; {event} is the name of one.
BREAKAGES = {
    "reject": "pbs.event().reject('broken')",
    "delete": "pbs.event().job.delete(); pbs.event().reject('broken')",
    "exception": "raise ValueError('broken')",
    "alarm": "import time; time.sleep(600)",
    "exit": "os._exit(5)",
    "kill": "os.kill(os.getpid(), 9)",
    "sys.exit": "sys.exit(3)",
}


class Result:
    """What became of a job: `state` as qstat tells it, and what it printed."""

    def __init__(self, state, exit_status=None, out="", err="", tries=1):
        self.state, self.exit_status, self.out, self.err, self.tries = state, exit_status, out, err, tries

    def __repr__(self):
        return "Result(%r, %r, out=%r, err=%r, tries=%r)" % (self.state, self.exit_status, self.out, self.err, self.tries)


class Rejected(Exception):
    pass


class Complex:
    def __init__(self, hook, config, alarm=60.0, resources=("shifter_image", "shifter_volumes", "shifter_modules", "shifter_writable")):
        self.hook, self.alarm, self.resources = hook, alarm, list(resources)
        self.directory = tempfile.mkdtemp(prefix="pbs-", dir="/var/lib/shifter-sdk-test/work")
        os.chmod(self.directory, 0o755)
        self.home = self.directory + "/spool"
        os.makedirs(self.home + "/mom_priv/jobs")
        self.config = self.directory + "/config.json"
        self.configure(config)
        self.broken, self.number, self.comments, self.python, self.log, self.locale = {}, 0, {}, None, "", None
        self.vnodes, self.node, self.retries = {"node1": {}}, "node1", RETRIES

    def configure(self, config):
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump(config, file)

    def close(self):
        shutil.rmtree(self.directory)

    # One event.

    def fire(self, kind, **event):
        """The outcome of the hook: a dictionary, or "exception", "alarm" or "died"."""
        place = tempfile.mkdtemp(dir=self.directory)
        event.update(type=kind, config=self.config, resources=self.resources, comments=self.comments, python=self.python, node=self.node,
                     pbs_conf={"PBS_HOME": self.home, "PBS_EXEC": "/opt/no-pbs"})
        if kind not in ("QUEUEJOB", "MODIFYJOB"):
            event["vnode_list"] = self.vnodes
        with open(place + "/event", "w", encoding="utf-8") as file:
            json.dump(event, file)
        with open(place + "/hook.py", "w", encoding="utf-8") as file:
            if kind in self.broken:
                file.write("import os, sys, pbs\n%s\n" % BREAKAGES.get(self.broken[kind], self.broken[kind]))
            with open(self.hook, encoding="utf-8") as source:
                file.write(source.read())
        environment = {"STANDIN_EVENT": place + "/event", "STANDIN_OUTCOME": place + "/outcome", "PYTHONPATH": HERE, "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"}
        if self.locale is not None:
            # A daemon's Python does without the UTF-8 that one of a command line turns to.
            environment.update(LC_ALL=self.locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
        child = subprocess.Popen([sys.executable, place + "/hook.py"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=environment, cwd=place, start_new_session=True)
        try:
            out, err = child.communicate(timeout=self.alarm)
            ended = "died"
        except subprocess.TimeoutExpired:
            # PBS interrupts the hook, and what the interrupted hook says does not count.
            os.kill(child.pid, signal.SIGINT)
            try:
                out, err = child.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                out, err = child.communicate()
            ended = "alarm"
        finally:
            # What a hook leaves in its process group does not survive it.
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.printed = (out + err).decode("utf-8", "replace")
        if os.path.exists(place + "/outcome.log"):
            with open(place + "/outcome.log", encoding="utf-8") as file:
                self.log += file.read()
        if ended == "died" and os.path.exists(place + "/outcome"):
            with open(place + "/outcome", encoding="utf-8") as file:
                return json.load(file)
        if ended == "died" and child.returncode == 1 and b"Traceback" in err:
            return "exception"
        return ended

    # The server.

    def submit(self, user, resources=None, **attributes):
        self.number += 1
        job = dict(attributes, id="", Resource_List=dict(resources or {}))
        outcome = self.fire("QUEUEJOB", job=job, requestor=user)
        # A filter that fails filters nothing through.
        if not isinstance(outcome, dict) or not outcome["accepted"]:
            raise Rejected(outcome if isinstance(outcome, str) else outcome["message"])
        job = outcome["job"]
        job.update(id="%d.server" % self.number, Job_Owner=user + "@node1", euser=user, egroup=user, exec_vnode="(node1:ncpus=1)",
                   schedselect="1:ncpus=1", run_count=0, job_state=1)
        return job

    def alter(self, job, resources=None, **attributes):
        change = dict(attributes, id=job["id"], Resource_List=dict(resources or {}))
        outcome = self.fire("MODIFYJOB", job=change, job_o=job, requestor=job["Job_Owner"].split("@")[0])
        if not isinstance(outcome, dict) or not outcome["accepted"]:
            raise Rejected(outcome if isinstance(outcome, str) else outcome["message"])
        for name, value in outcome["job"].items():
            if name == "Resource_List":
                job[name].update({key: each for key, each in value.items() if each is not None})
            elif name != "id" and value is not None:
                job[name] = value

    # pbs_mom.

    def run(self, job, tasks=(), epilogue=True):
        """Runs a job as the server and pbs_mom do, and says what qstat would."""
        for attempt in range(1, self.retries + 1):
            job["run_count"] = attempt
            outcome = self.fire("EXECJOB_BEGIN", job=job)
            if isinstance(outcome, dict) and outcome["accepted"]:
                break
            self.fire("EXECJOB_ABORT", job=job)
            if isinstance(outcome, dict) and outcome["deleted"]:
                return Result("F", -19, tries=attempt)
        else:
            return Result("H", tries=self.retries)
        job["job_state"] = 4
        outcome = self.fire("EXECJOB_PROLOGUE", job=job)
        if outcome in ("exception", "alarm"):
            return self.over(job, Result("Q", -22), epilogue)
        if isinstance(outcome, dict) and not outcome["accepted"]:
            return self.over(job, Result("F", -17) if outcome["deleted"] else Result("Q", -16), epilogue)
        result = self.task(job, job.get("executable"), self.arguments(job), self.environment(job))
        for program, arguments, environment in tasks if result.state == "R" else ():
            extra = self.task(job, program, [program] + arguments, dict(self.environment(job), **environment))
            result.out, result.err = result.out + extra.out, result.err + extra.err
        if result.state == "R":
            result.state = "F"
        return self.over(job, result, epilogue)

    def over(self, job, result, epilogue):
        if epilogue:
            outcome = self.fire("EXECJOB_EPILOGUE", job=job)
            if isinstance(outcome, dict) and not outcome["accepted"] and result.exit_status == 0:
                result.exit_status = -19
        self.fire("EXECJOB_END", job=job)
        return result

    def arguments(self, job):
        if not job.get("executable"):
            return []
        words = (job.get("argument_list") or "").split("<jsdl-hpcpa:Argument>")[1:]
        words = [word[: -len("</jsdl-hpcpa:Argument>")] for word in words]
        for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
            words = [word.replace(entity, character) for word in words]
        return [job["executable"]] + [word for word in words if word]

    def shell(self, job):
        """The entry without a host, or that of this one; else the account's."""
        entries = [word for word in (job.get("Shell_Path_List") or "").split(",") if word]
        fitting = [word.split("@")[0] for word in entries if "@" not in word or self.node.startswith(word.split("@")[1])]
        return fitting[0] if fitting else pwd.getpwnam(job["euser"]).pw_shell

    def environment(self, job):
        account = pwd.getpwnam(job["euser"])
        environment = dict(job.get("Variable_List") or {})
        environment.update(HOME=account.pw_dir, LOGNAME=account.pw_name, USER=account.pw_name, PBS_JOBID=job["id"], SHELL=self.shell(job), PATH="/bin:/usr/bin",
                           PBS_ENVIRONMENT="PBS_BATCH")
        return environment

    def task(self, job, program, arguments, environment):
        """Starts one task; a program of None is the job's script, read by a login shell from a pipe that tells its path."""
        script = program is None
        program = self.shell(job) if script else program
        outcome = self.fire("EXECJOB_LAUNCH", job=job, progname=program, argv=arguments, env=environment)
        if outcome in ("exception", "alarm") or isinstance(outcome, dict) and not outcome["accepted"]:
            return Result("F", -17, err=self.printed)
        if isinstance(outcome, dict):
            program, arguments = outcome["progname"], outcome["argv"]
        # A hook that ended otherwise is skipped, and the task started as if there were none.
        arguments = ["-" + os.path.basename(program)] + arguments[1:] if script else arguments
        account = pwd.getpwnam(job["euser"])
        path = None
        if script:
            path = self.home + "/" + job["id"] + ".SC"
            with open(path, "w", encoding="utf-8") as file:
                file.write(job["script"])
            os.chmod(path, 0o700)
            os.chown(path, account.pw_uid, account.pw_gid)

        def become():
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)

        try:
            child = subprocess.Popen(arguments, executable=program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                                     cwd=account.pw_dir, preexec_fn=become, start_new_session=True)
        except OSError:
            return Result("F", -1, err="pbs_mom: the task could not be started")
        out, err = child.communicate((path + "\n").encode() if path else b"", timeout=60)
        return Result("R", child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
