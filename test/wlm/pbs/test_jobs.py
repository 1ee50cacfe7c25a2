"""Jobs on a node: their tasks, values, users, roots, locks and the periodic look."""
import os
import pwd
import signal
import subprocess
import threading
import time
import unittest

from case import ALICE, BOB, IMAGE, INSIDE, PREFIX, RUN, WRAPPER, HookTest, uid_of

LISTED = (PREFIX + "/sbin/unsetupRoot", "--list")


def argument(word):
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        word = word.replace(character, entity)
    return "<jsdl-hpcpa:Argument>%s</jsdl-hpcpa:Argument>" % word


class Tasks(HookTest):
    def test_the_exit_status_is_the_scripts(self):
        self.assertEqual(self.pbs.run(self.submit(script="#!/bin/sh\nexit 3\n")).exit_status, 3)

    def test_a_script_without_an_interpreter_is_the_shells(self):
        self.assertEqual(self.pbs.run(self.submit(script="cat /etc/os-release\n")).out, INSIDE)

    def test_the_job_joins_the_root_that_begin_prepared(self):
        job = self.submit(script="#!/bin/sh\nreadlink /proc/self/ns/mnt\n")
        spaces = []
        self.pbs.broken = {"EXECJOB_LAUNCH": "import glob\nopen('%s/pins', 'w').write(repr([os.stat(p).st_ino for p in glob.glob('%s/pins/*')]))" % (self.pbs.directory, RUN)}
        result = self.pbs.run(job)
        with open(self.pbs.directory + "/pins", encoding="utf-8") as file:
            spaces = file.read()
        self.assertIn(result.out.strip()[len("mnt:["):-1], spaces)

    def test_arguments_of_a_program_arrive_as_they_are(self):
        words = ["a,b", "q'\"q", "new\nline", "ü<&>%41", "sp ace", "back\\slash", "--image=docker:x"]
        job = self.submit(executable="/bin/printf", argument_list="".join(argument(word) for word in ["%s|"] + words))
        self.assertEqual(self.pbs.run(job).out, "".join(word + "|" for word in words))

    def test_values_of_variables_arrive_as_they_are(self):
        values = {"A": "a,b", "B": "q'\"q", "C": "new\nline", "D": "ü", "E": "b\\s", "BASH_FUNC_f%%": "() {  echo f\n}"}
        job = self.submit(script="#!/bin/sh\n" + "".join("printf '%%s|' \"$%s\"\n" % name for name in "ABCDE"), Variable_List=values)
        self.assertEqual(self.pbs.run(job).out, "".join(values[name] + "|" for name in "ABCDE"))

    def test_tasks_of_tm_run_inside(self):
        tasks = [("/bin/cat", ["/etc/os-release"], {}), ("cat", ["/etc/os-release"], {})]
        self.assertEqual(self.pbs.run(self.submit(), tasks).out, INSIDE * 3)

    def test_the_wrapper_as_a_task_does_not_lead_outside(self):
        result = self.pbs.run(self.submit(script="#!/bin/sh\n"), [(WRAPPER, ["--", "/bin/cat", "/etc/os-release"], {}), ("/bin/echo", [WRAPPER], {})])
        self.assertEqual(result.out, INSIDE + WRAPPER + "\n")

    def test_variables_of_the_user_ask_for_nothing(self):
        variables = {"SHIFTER_IMAGE": "x", "SHIFTER_IMAGETYPE": "docker", "SHIFTER_IMAGEREQUEST": "docker:other", "SHIFTER_VOLUME": "/nope:/nope",
                     "SHIFTER_MODULE": "nope", "SLURM_SPANK_SHIFTER_VOLUME": "/nope:/nope", "PBS_JOBID": "1.other", "SHIFTER_JOB_ID": "1.other",
                     "SHIFTER_ENTRYPOINT": "/bin/echo", "SLURM_SPANK_SHIFTER_ENTRYPOINT": "image"}
        self.assertEqual(self.pbs.run(self.submit(Variable_List=variables)).out, INSIDE)

    def test_what_was_asked_for_is_inside(self):
        job = self.submit(script="#!/bin/sh\ngrep -c '^[^ ]* / [^ ]* rw' /proc/self/mounts; echo $SHELL\n", resources={"shifter_writable": "/", "shifter_volumes": "/start:/mnt/a"})
        self.assertEqual(self.pbs.run(job).out, "1\n/bin/sh\n")
        job = self.submit(script="#!/bin/sh\nls -d /mnt/a; grep -c '^[^ ]* / [^ ]* rw' /proc/self/mounts\n", resources={"shifter_volumes": "/start:/mnt/a", "shifter_modules": "none"})
        self.assertEqual(self.pbs.run(job).out, "/mnt/a\n0\n")

    def test_an_array_job_has_brackets_in_its_id(self):
        job = self.submit()
        job["id"] = "7[1].server"
        self.assertEqual(self.pbs.run(job).out, INSIDE)

    def test_an_id_that_is_none_is_refused(self):
        for name in ("../x", "a/b", "", "a b", ".", "x" * 129):
            job = self.submit()
            job["id"] = name
            self.assertEqual(self.pbs.run(job).state, "H", name)

    def test_another_launch_hook_before_this_one(self):
        job = self.submit()
        self.pbs.broken = {"EXECJOB_LAUNCH": "e = pbs.event(); e.progname, e.argv = '/usr/bin/env', ['env', '-i', '/bin/cat', '/etc/os-release']"}
        self.assertEqual(self.pbs.run(job).out.replace(INSIDE, ""), "")

    def test_a_slow_or_failing_preparation_costs_a_job_nothing_but_time(self):
        prefix = self.pbs.directory + "/prefix"
        for place in ("bin", "sbin", "libexec"):
            os.makedirs(prefix + "/" + place)
        os.symlink(PREFIX + "/libexec/shifter", prefix + "/libexec/shifter")
        os.symlink(PREFIX + "/sbin/unsetupRoot", prefix + "/sbin/unsetupRoot")
        for name in ("shifter", "shifter-check"):
            os.symlink(PREFIX + "/bin/" + name, prefix + "/bin/" + name)
        for how in ("exec sleep 600", "echo setupRoot: RESOURCE: none >&2; exit 1"):
            job = self.submit()
            job["Shell_Path_List"] = prefix + "/libexec/shifter/shifter-pbs"
            with open(prefix + "/sbin/setupRoot", "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\n%s\n" % how)
            os.chmod(prefix + "/sbin/setupRoot", 0o755)
            self.pbs.configure(self.config(prefix=prefix, seconds=1))
            self.assertEqual(self.pbs.run(job).out, INSIDE)
            self.pbs.configure(self.config())
        self.assertIn("was not done after 1 seconds", self.pbs.log)
        self.assertIn("RESOURCE: none", self.pbs.log)

    def test_begin_refuses_what_was_not_checked_at_submission(self):
        for change in ({"Shell_Path_List": "/bin/sh"}, {"Shell_Path_List": None}, {"executable": "/bin/cat"}):
            job = self.submit()
            job.update(change)
            self.assertEqual((self.pbs.run(job).state, self.pbs.run(job).exit_status), ("F", -19), change)
        job = self.submit(image=None)
        job["Resource_List"]["shifter_image"] = "docker:default/of/a/queue"
        self.assertEqual(self.pbs.run(job).exit_status, -19)

    def test_a_node_that_is_not_told_of_the_resources_runs_nothing_outside(self):
        job = self.submit()
        self.pbs.resources = []
        known, job["Resource_List"] = job["Resource_List"], {}
        self.assertEqual(self.pbs.run(job).state, "H")
        # A sister of which the begin was not asked: its tasks are the wrapper's, which has no file there.
        job["run_count"] = 1
        result = self.pbs.task(job, "/bin/cat", ["cat", "/etc/os-release"], self.pbs.environment(job))
        self.assertEqual(result.out, "")
        self.assertIn("shifter-pbs: JOB_UNKNOWN: ", result.err)
        job["Resource_List"] = known

    def test_a_path_that_is_not_ascii(self):
        source = os.path.join(self.pbs.directory, "ü")
        os.makedirs(source)
        job = self.submit(script="#!/bin/sh\ntest -d /mnt/ü && echo there\n", resources={"shifter_volumes": source + ":/mnt/ü"})
        self.pbs.locale = "C"
        self.assertEqual(self.pbs.run(job).out, "there\n")

    def test_a_log_that_does_not_work_stops_nothing(self):
        self.pbs.python = "3.10"
        self.assertIn("IMAGE_NOT_FOUND", self.refused(image="docker:no/such:1"))
        self.assertEqual(self.pbs.run(self.submit()).out, INSIDE)


class State(HookTest):
    def begin(self, job, run=1):
        job["run_count"] = run
        outcome = self.pbs.fire("EXECJOB_BEGIN", job=job)
        self.assertTrue(outcome["accepted"], outcome)

    def end(self, job, kind="EXECJOB_END"):
        self.assertTrue(self.pbs.fire(kind, job=job)["accepted"])

    def roots(self):
        return subprocess.run(LISTED, stdout=subprocess.PIPE, check=True).stdout.decode()

    def wrapper(self, job, user=ALICE, words=("--", "/bin/cat", "/etc/os-release")):
        account = pwd.getpwnam(user)
        environment = {"PBS_JOBID": job["id"], "PATH": "/bin", "HOME": account.pw_dir}
        return subprocess.run(["setpriv", "--reuid=%d" % account.pw_uid, "--regid=%d" % account.pw_gid, "--init-groups", WRAPPER] + list(words), env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False, cwd="/")

    def test_what_is_written_down(self):
        job = self.submit(resources={"shifter_volumes": "/start:/mnt/a;/start:/mnt/b", "shifter_modules": "none"}, Shell_Path_List="/bin/sh")
        self.begin(job)
        with open(self.state(job), "rb") as file:
            content = file.read()
        length = len(IMAGE)
        self.assertEqual(content, ("shifter-pbs 1\njob %d:%s\nuid %d:%d\nimage %d:%s\nvolume 13:/start:/mnt/a\nvolume 13:/start:/mnt/b\nmodules 4:none\n"
                                   "shell 7:/bin/sh\nrun 1:1\nend\n" % (len(job["id"]), job["id"], len(str(uid_of(ALICE))), uid_of(ALICE), length, IMAGE)).encode())
        status = os.stat(self.state(job))
        self.assertEqual((status.st_uid, status.st_gid, status.st_mode & 0o777), (0, pwd.getpwnam(ALICE).pw_gid, 0o640))
        self.end(job)

    def test_teardown_may_be_done_again(self):
        job = self.submit()
        for kind in ("EXECJOB_EPILOGUE", "EXECJOB_END", "EXECJOB_ABORT"):
            self.end(job, kind)
        self.begin(job)
        self.assertIn(job["id"], self.roots())
        for kind in ("EXECJOB_EPILOGUE", "EXECJOB_END", "EXECJOB_END", "EXECJOB_ABORT"):
            self.end(job, kind)
        self.assertNotIn(job["id"], self.roots())

    def test_the_end_of_a_run_leaves_the_next_one_alone(self):
        job = self.submit()
        self.begin(job, 1)
        self.begin(job, 2)
        self.end(dict(job, run_count=1))
        self.assertIn(job["id"], self.roots())
        self.assertEqual(self.wrapper(job).stdout, INSIDE)
        self.end(dict(job, run_count=2))

    def test_state_of_an_older_hook_or_none_at_all_is_taken_down(self):
        for content in (b"shifter-pbs 0\nimage 2:xx\nend\n", b"", b"\x00\xff garbage", b"shifter-pbs 9\nnew-key 1:x\nend\n", b"shifter-pbs 1\njob 999999999:x"):
            job = self.submit()
            self.begin(job)
            with open(self.state(job), "wb") as file:
                file.write(content)
            self.assertEqual(self.wrapper(job).stdout, "")
            self.end(job)
            self.assertNotIn(job["id"], self.roots())
            self.begin(job)
            self.assertEqual(self.wrapper(job).stdout, INSIDE)
            self.end(job)

    def test_the_wrapper_believes_root_alone(self):
        job = self.submit()
        self.assertIn("JOB_UNKNOWN", self.wrapper(job).stderr)
        self.begin(job)
        self.assertEqual(self.wrapper(job).stdout, INSIDE)
        self.assertIn("JOB_UNKNOWN", self.wrapper(job, BOB).stderr)
        for words in (["--"], ["--encoded"], ["--encoded", "%4"], ["--encoded", "%00"], ["cat"], ["--image=docker:x", "--", "cat"]):
            result = self.wrapper(job, words=words)
            self.assertIn("shifter-pbs: USAGE: ", result.stderr)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
        os.chown(self.state(job), uid_of(ALICE), -1)
        self.assertIn("JOB_UNKNOWN", self.wrapper(job).stderr)
        os.chown(self.state(job), 0, -1)
        os.chmod(self.state(job), 0o666)
        self.assertIn("JOB_UNKNOWN", self.wrapper(job).stderr)
        self.assertIn("JOB_INVALID", self.wrapper({"id": "../x"}).stderr)
        self.end(job)

    def test_several_jobs_of_several_users_at_once(self):
        outputs, users = {}, [ALICE, BOB] * 3
        submitted = [self.submit(user, script="#!/bin/sh\nhead -1 /etc/os-release; id -u\n") for user in users]

        def whole(number):
            outputs[number] = (self.pbs.run(submitted[number]).out, INSIDE + "%d\n" % uid_of(users[number]))

        jobs = [threading.Thread(target=whole, args=(number,)) for number in range(6)]
        for each in jobs:
            each.start()
        for each in jobs:
            each.join()
        self.assertEqual(len(outputs), 6)
        for got, wanted in outputs.values():
            self.assertEqual(got, wanted)

    def test_events_of_one_job_wait_for_each_other(self):
        job = self.submit()
        self.begin(job)
        held = subprocess.Popen(["flock", RUN + "/pbs/locks/" + job["id"], "sh", "-c", "echo held; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        held.stdout.readline()
        ended = threading.Thread(target=self.end, args=(job,))
        ended.start()
        self.assertTrue(os.path.exists(self.state(job)))
        held.communicate(b"\n")
        ended.join()
        self.assertFalse(os.path.exists(self.state(job)))


class Periodic(HookTest):
    begin, end, roots = State.begin, State.end, State.roots

    def look(self, jobs=(), **more):
        return self.pbs.fire("EXECHOST_PERIODIC", job_list={job["id"]: {} for job in jobs}, **more)

    def old(self, job):
        os.utime(self.state(job), (time.time() - 3600,) * 2)

    def test_a_live_jobs_root_is_never_removed(self):
        job = self.submit()
        self.begin(job)
        self.look()
        self.assertTrue(os.path.exists(self.state(job)), "it had just begun")
        self.old(job)
        self.look([job])
        self.assertTrue(os.path.exists(self.state(job)), "PBS lists it")
        known = "%s/mom_priv/jobs/%s.JB" % (self.pbs.home, job["id"])
        open(known, "w").close()
        self.look()
        self.assertTrue(os.path.exists(self.state(job)), "pbs_mom has its file")
        os.unlink(known)
        self.pbs.fire("EXECHOST_PERIODIC")
        self.assertTrue(os.path.exists(self.state(job)), "PBS told no list")
        process = self.process(job, ["/bin/sleep", "600"])
        self.look()
        self.assertTrue(os.path.exists(self.state(job)), "it has a process")
        process.kill()
        process.wait()
        self.look()
        self.assertFalse(os.path.exists(self.state(job)))
        self.assertNotIn(job["id"], self.roots())

    def process(self, job, words):
        account = pwd.getpwnam(ALICE)
        process = subprocess.Popen(["setpriv", "--reuid=%d" % account.pw_uid, "--regid=%d" % account.pw_gid, "--init-groups"] + words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   env={"PBS_JOBID": job["id"], "PATH": "/bin", "HOME": account.pw_dir}, cwd="/")
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_processes_outside_of_the_root_are_ended(self):
        job, other = self.submit(), self.submit()
        self.begin(job)
        # What tells that it runs is written by the program itself, after every change of identity and root.
        outside = self.process(job, ["/bin/sh", "-c", "echo ready; exec sleep 600"])
        stranger = self.process(other, ["/bin/sh", "-c", "echo ready; exec sleep 600"])
        inside = self.process(job, [WRAPPER, "--", "/bin/sh", "-c", "echo ready; while true; do :; done"])
        for process in (stranger, inside):
            self.assertEqual(process.stdout.readline(), b"ready\n")
        self.assertEqual(outside.stdout.readline(), b"ready\n")
        # Another user's, whatever it says of itself.
        account = pwd.getpwnam(BOB)
        foreign = subprocess.Popen(["setpriv", "--reuid=%d" % account.pw_uid, "--regid=%d" % account.pw_gid, "--clear-groups", "/bin/sh", "-c", "echo ready; exec sleep 600"],
                                   stdout=subprocess.PIPE, env={"PBS_JOBID": job["id"], "PATH": "/bin"}, cwd="/")
        self.addCleanup(foreign.stdout.close)
        self.addCleanup(foreign.wait)
        self.addCleanup(foreign.kill)
        self.assertEqual(foreign.stdout.readline(), b"ready\n")
        self.look([job, other])
        self.assertIsNone(foreign.poll())
        self.assertEqual(outside.wait(10), -signal.SIGKILL)
        self.assertIsNone(inside.poll())
        self.assertIsNone(stranger.poll())
        self.assertIn("ran outside of the job's image and was ended", self.pbs.log)
        inside.kill()
        inside.wait()
        self.end(job)

    def test_the_nodes_mark(self):
        mark = self.pbs.home + "/mom_priv/shifter-offline"
        self.assertEqual(self.look()["vnodes"], {"node1": {"state": None, "comment": None}})
        os.rename(WRAPPER, WRAPPER + ".gone")
        self.addCleanup(lambda: os.path.exists(WRAPPER + ".gone") and os.rename(WRAPPER + ".gone", WRAPPER))
        vnode = self.look()["vnodes"]["node1"]
        self.assertEqual(vnode["state"], 1)
        self.assertIn("shifter: this node can't run images: " + WRAPPER, vnode["comment"])
        self.assertTrue(os.path.exists(mark))
        os.rename(WRAPPER + ".gone", WRAPPER)
        # Somebody else set it offline meanwhile.
        self.pbs.comments = {"node1": "disk is broken"}
        self.assertEqual(self.look()["vnodes"]["node1"], {"state": None, "comment": None})
        self.assertFalse(os.path.exists(mark))
        open(mark, "w").close()
        self.pbs.comments = {"node1": vnode["comment"]}
        self.assertEqual(self.look()["vnodes"]["node1"], {"state": 0, "comment": None})

    def test_a_mark_that_was_taken_away_too_early_comes_back(self):
        os.rename(WRAPPER, WRAPPER + ".gone")
        self.addCleanup(os.rename, WRAPPER + ".gone", WRAPPER)
        self.assertEqual(self.look()["vnodes"]["node1"]["state"], 1)
        self.pbs.comments = {"node1": "shifter: this node can't run images: x"}
        self.assertIsNone(self.look()["vnodes"]["node1"]["state"])
        self.pbs.comments = {}
        self.assertEqual(self.look()["vnodes"]["node1"]["state"], 1)

    def test_somebody_elses_mark_is_left(self):
        self.pbs.comments = {"node1": "disk is broken"}
        os.rename(WRAPPER, WRAPPER + ".gone")
        self.addCleanup(os.rename, WRAPPER + ".gone", WRAPPER)
        self.assertEqual(self.look()["vnodes"]["node1"], {"state": None, "comment": None})

    def test_nodes_that_are_left_out(self):
        for config, vnodes in (({"excludeHosts": ["node1"]}, {"node1": {}}),
                               ({"excludeVntypes": ["login"]}, {"node1": {"resources_available": {"vntype": "cpu,login"}}})):
            self.pbs.configure(self.config(**config))
            self.pbs.vnodes = vnodes
            self.assertEqual(self.pbs.run(self.submit()).state, "H")
            self.assertNotEqual(self.pbs.run(self.submit(image=None)).out, "")
            os.rename(WRAPPER, WRAPPER + ".gone")
            try:
                self.assertIsNone(self.look()["vnodes"]["node1"]["state"])
            finally:
                os.rename(WRAPPER + ".gone", WRAPPER)


if __name__ == "__main__":
    unittest.main()
