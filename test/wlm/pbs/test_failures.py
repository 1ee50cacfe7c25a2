"""The table of failures: what the stand-in does is what OpenPBS was seen to do, and with it a job with an image never runs outside of it."""
import os
import unittest

from case import INSIDE, WRAPPER, HookTest

# event, how it goes wrong, what qstat says then: state and Exit_status. "R" is a job that ran as if nothing were.
TABLE = (
    ("EXECJOB_BEGIN", "reject", "H", None), ("EXECJOB_BEGIN", "delete", "F", -19), ("EXECJOB_BEGIN", "exception", "H", None),
    ("EXECJOB_BEGIN", "alarm", "H", None), ("EXECJOB_BEGIN", "exit", "H", None), ("EXECJOB_BEGIN", "kill", "H", None),
    ("EXECJOB_BEGIN", "sys.exit", "H", None),
    ("EXECJOB_PROLOGUE", "reject", "Q", -16), ("EXECJOB_PROLOGUE", "delete", "F", -17), ("EXECJOB_PROLOGUE", "exception", "Q", -22),
    ("EXECJOB_PROLOGUE", "alarm", "Q", -22), ("EXECJOB_PROLOGUE", "exit", "R", 0), ("EXECJOB_PROLOGUE", "kill", "R", 0),
    ("EXECJOB_PROLOGUE", "sys.exit", "R", 0),
    ("EXECJOB_LAUNCH", "reject", "F", -17), ("EXECJOB_LAUNCH", "delete", "F", -17), ("EXECJOB_LAUNCH", "exception", "F", -17),
    ("EXECJOB_LAUNCH", "alarm", "F", -17), ("EXECJOB_LAUNCH", "exit", "R", 0), ("EXECJOB_LAUNCH", "kill", "R", 0), ("EXECJOB_LAUNCH", "sys.exit", "R", 0),
    ("EXECJOB_EPILOGUE", "reject", "R", -19), ("EXECJOB_EPILOGUE", "exception", "R", 0), ("EXECJOB_EPILOGUE", "alarm", "R", 0),
    ("EXECJOB_EPILOGUE", "kill", "R", 0),
    ("EXECJOB_END", "reject", "R", 0), ("EXECJOB_END", "exception", "R", 0), ("EXECJOB_END", "alarm", "R", 0), ("EXECJOB_END", "kill", "R", 0),
)
with open("/etc/os-release", encoding="utf-8") as file:
    OUTSIDE = file.read()


class Failures(HookTest):
    def broken(self, kind, how):
        self.pbs.broken = {kind: how}
        # Each try takes the whole alarm.
        self.pbs.alarm, self.pbs.retries = (1.0, 2) if how == "alarm" else (60.0, 3)

    def test_the_stand_in_does_what_pbs_was_seen_to_do(self):
        for kind, how, state, status in TABLE:
            with self.subTest(kind=kind, how=how):
                job = self.submit(image=None)
                self.broken(kind, how)
                result = self.pbs.run(job)
                self.assertEqual((result.state, result.exit_status), ("F" if state == "R" else state, status))
                self.assertEqual(result.out, OUTSIDE if state == "R" else "")
                self.pbs.broken = {}

    def test_a_job_with_an_image_runs_inside_or_not_at_all(self):
        for kind, how, state, status in TABLE:
            with self.subTest(kind=kind, how=how):
                job = self.submit()
                self.broken(kind, how)
                result = self.pbs.run(job)
                self.assertEqual(result.state, "F" if state == "R" else state)
                self.assertEqual(result.out, INSIDE if state == "R" else "")
                # What a broken event left undone, the next one does.
                self.pbs.broken = {}
                self.pbs.fire("EXECJOB_END", job=job)

    def test_all_events_but_begin_may_die(self):
        for how in ("exit", "kill", "sys.exit"):
            with self.subTest(how=how):
                job = self.submit()
                self.pbs.broken = {kind: how for kind in ("EXECJOB_PROLOGUE", "EXECJOB_LAUNCH", "EXECJOB_EPILOGUE", "EXECJOB_END")}
                self.assertEqual(self.pbs.run(job).out, INSIDE)
                self.pbs.broken = {}
                self.pbs.fire("EXECJOB_END", job=job)

    def test_a_program_in_place_of_a_script_runs_inside_though_launch_dies(self):
        job = self.submit(executable="/bin/cat", argument_list="<jsdl-hpcpa:Argument>/etc/os-release</jsdl-hpcpa:Argument>")
        self.pbs.broken = {"EXECJOB_LAUNCH": "kill"}
        self.assertEqual(self.pbs.run(job).out, INSIDE)

    def test_a_job_whose_begin_was_never_run_does_not_run(self):
        job = self.submit()
        job["run_count"] = 1
        result = self.pbs.task(job, None, [], self.pbs.environment(job))
        self.assertEqual((result.exit_status, result.out), (1, ""))
        self.assertIn("shifter-pbs: JOB_UNKNOWN: ", result.err)

    def test_a_job_without_the_wrapper_on_its_node_does_not_run(self):
        job = self.submit()
        os.rename(WRAPPER, WRAPPER + ".gone")
        self.addCleanup(os.rename, WRAPPER + ".gone", WRAPPER)
        self.assertEqual(self.pbs.run(job).state, "H")
        self.pbs.broken = {"EXECJOB_BEGIN": "pbs.event().accept()"}
        result = self.pbs.run(job)
        self.assertEqual((result.state, result.exit_status, result.out), ("F", -1, ""))

    def test_what_the_user_is_told_when_launch_fails(self):
        job = self.submit()
        self.pbs.broken = {"EXECJOB_LAUNCH": "del pbs.pbs_conf; pbs.hook_config_filename = None\nevent = pbs.event(); event._param['progname'] = '/bin/bash'"}
        result = self.pbs.run(job)
        self.assertEqual((result.state, result.exit_status), ("F", -17))
        self.assertIn("shifter: the hook has no configuration", result.err)


if __name__ == "__main__":
    unittest.main()
