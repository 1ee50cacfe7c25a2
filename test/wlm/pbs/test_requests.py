"""Submission and alteration: what is refused, with which words, and what a job becomes."""
import pwd
import unittest

from case import ALICE, BOB, IMAGE, INSIDE, PREFIX, REFERENCE, SECRET, WRAPPER, HookTest
from complex import Rejected


class Submission(HookTest):
    def test_a_job_without_an_image_is_left_alone(self):
        self.pbs.configure({"version": 99})
        job = self.submit(image=None, Shell_Path_List="/bin/sh")
        self.assertEqual(job["Shell_Path_List"], "/bin/sh")

    def test_the_image_is_pinned_and_the_shell_becomes_the_wrapper(self):
        job = self.submit(image=REFERENCE)
        self.assertEqual(job["Resource_List"]["shifter_image"], IMAGE)
        self.assertEqual(job["Shell_Path_List"], WRAPPER)

    def test_the_user_is_told_what_is_wrong(self):
        for resources, words in (
            ({"shifter_image": "docker:no/such:1"}, "IMAGE_NOT_FOUND: "),
            ({"shifter_image": "docker:UPPER"}, "REFERENCE_INVALID: "),
            ({"shifter_image": IMAGE, "shifter_volumes": "/a:/etc/b"}, "VOLUME_INVALID: "),
            ({"shifter_image": IMAGE, "shifter_modules": "nope"}, "MODULE_REFUSED: "),
            ({"shifter_image": IMAGE, "shifter_writable": "/scratch"}, "shifter_writable=/scratch: write PATH:SIZE"),
            ({"shifter_image": IMAGE, "shifter_writable": "/etc/x:1G"}, "VOLUME_INVALID: "),
            ({"shifter_image": IMAGE, "shifter_writable": "/a:/b:1G"}, "write PATH:SIZE"),
            # The site of this test offers none; its limits are those of shifter-check.
            ({"shifter_image": IMAGE, "shifter_writable": "/scratch:1G"}, "CACHE_REFUSED: "),
            ({"shifter_image": IMAGE, "shifter_writable": "/scratch:1G,size=2G"}, "write PATH:SIZE"),
            ({"shifter_image": IMAGE, "shifter_volumes": "/a:/b\nc"}, "VOLUME_INVALID: "),
            ({"shifter_image": IMAGE, "shifter_volumes": "--job=1"}, "VOLUME_INVALID: "),
            # With what to do about it.
            ({"shifter_image": IMAGE, "shifter_volumes": "/a:/b:rw"}, "VOLUME_INVALID: 'rw' is no flag. Write FROM:TO[:ro]"),
            ({"shifter_image": IMAGE, "shifter_modules": "--help"}, "MODULE_REFUSED: "),
            ({"shifter_volumes": "/a:/b"}, "shifter_volumes is given without shifter_image"),
            ({"shifter_image": "--help"}, "REFERENCE_INVALID: "),
            ({"shifter_image": "docker:a\n--job=x"}, "REFERENCE_INVALID: "),
        ):
            with self.subTest(resources=resources):
                self.assertIn("shifter: ", self.refused(image=None, resources=resources))
                self.assertIn(words, self.refused(image=None, resources=resources))

    def test_a_private_image_is_for_its_users(self):
        self.assertEqual(self.submit(ALICE, SECRET)["Resource_List"]["shifter_image"], SECRET)
        self.assertIn("IMAGE_NOT_FOUND: ", self.refused(BOB, SECRET))
        # By whom it will run, not by whom it is submitted.
        self.assertIn("IMAGE_NOT_FOUND: ", self.refused(ALICE, SECRET, User_List=BOB))
        self.assertIn("names one user", self.refused(ALICE, SECRET, User_List=ALICE + "@a," + BOB))
        self.assertIn("there is no account nobody-here", self.refused("nobody-here"))
        self.assertIn("is not in the group " + BOB, self.refused(ALICE, SECRET, group_list=BOB))
        self.assertIn("is not in the group", self.refused(ALICE, group_list=str(pwd.getpwnam(BOB).pw_gid)))
        self.assertIn("there is no group no-such-group", self.refused(ALICE, group_list="no-such-group"))

    def test_the_shell_of_the_user_is_kept_for_inside(self):
        job = self.submit(Shell_Path_List="/bin/sh")
        self.assertEqual(job["Shell_Path_List"], WRAPPER + ",/bin/sh@chosen.invalid")
        result = self.pbs.run(self.submit(Shell_Path_List="/bin/none"))
        self.assertEqual(result.exit_status, 127)
        self.assertIn("EXEC_FAILED: /bin/none", result.err)
        self.assertIn("no absolute path", self.refused(Shell_Path_List="bash"))
        for shells in ("/bin/sh@node1", "/bin/sh,/bin/bash@node1"):
            self.assertIn("of -S is for one host", self.refused(Shell_Path_List=shells))

    def test_a_shell_that_is_the_wrapper_already_is_not_wrapped_twice(self):
        again = self.submit(Shell_Path_List=WRAPPER + ",/bin/sh@chosen.invalid")
        self.assertEqual(again["Shell_Path_List"], WRAPPER + ",/bin/sh@chosen.invalid")
        self.assertEqual(self.submit(Shell_Path_List=WRAPPER)["Shell_Path_List"], WRAPPER)

    def test_a_configuration_that_is_missing_or_newer_refuses(self):
        self.pbs.configure(self.config(version=2))
        self.assertIn("version 2, and this hook knows 1", self.refused())
        self.pbs.config = None
        self.assertIn("has no configuration", self.refused())

    def test_programs_that_are_missing_on_the_server_refuse(self):
        self.pbs.configure(self.config(prefix=PREFIX + "-not-there"))
        self.assertIn("can't be looked up now", self.refused())

    def test_resources_that_the_site_does_not_have_are_not_asked_for(self):
        self.pbs.resources = ["shifter_image"]
        self.assertEqual(self.submit()["Resource_List"], {"shifter_image": IMAGE})


class Alteration(HookTest):
    def altered(self, job, *arguments, **more):
        with self.assertRaises(Rejected) as caught:
            self.pbs.alter(job, *arguments, **more)
        return str(caught.exception)

    def test_a_shell_of_qalter_stays_inside(self):
        job = self.submit()
        self.pbs.alter(job, Shell_Path_List="/bin/sh")
        self.assertEqual(job["Shell_Path_List"], WRAPPER + ",/bin/sh@chosen.invalid")
        self.assertEqual(self.pbs.run(job).out, INSIDE)

    def test_an_image_can_be_exchanged_and_added_but_not_taken_away(self):
        job = self.submit(image=None)
        self.pbs.alter(job, {"shifter_image": REFERENCE})
        self.assertEqual((job["Resource_List"]["shifter_image"], job["Shell_Path_List"]), (IMAGE, WRAPPER))
        self.pbs.alter(job, {"shifter_image": SECRET})
        self.assertEqual(job["Resource_List"]["shifter_image"], SECRET)
        self.assertIn("not taken away", self.altered(job, {"shifter_image": ""}))

    def test_a_program_gets_its_image_later(self):
        job = self.submit(image=None, executable="/bin/cat", argument_list="<jsdl-hpcpa:Argument>/etc/os-release</jsdl-hpcpa:Argument>")
        self.pbs.alter(job, {"shifter_image": IMAGE})
        self.assertEqual(job["executable"], WRAPPER)
        self.pbs.alter(job, {"shifter_modules": "none"})
        self.assertEqual(job["argument_list"].count("--encoded"), 1)
        self.assertEqual(self.pbs.run(job).out, INSIDE)

    def test_an_altered_program_is_wrapped(self):
        job = self.submit(executable="/bin/true", argument_list=None)
        self.pbs.alter(job, executable="/bin/cat", argument_list="<jsdl-hpcpa:Argument>/etc/os-release</jsdl-hpcpa:Argument>")
        self.assertEqual(self.pbs.run(job).out, INSIDE)

    def test_what_is_altered_is_checked(self):
        job = self.submit(image=None)
        self.assertIn("without shifter_image", self.altered(job, {"shifter_volumes": "/a:/b"}))
        job = self.submit()
        self.assertIn("VOLUME_INVALID", self.altered(job, {"shifter_volumes": "/a:/etc"}))
        self.assertIn("IMAGE_NOT_FOUND", self.altered(self.submit(ALICE, SECRET), User_List=BOB))
        job["job_state"] = 4
        self.assertIn("can't be changed while the job runs", self.altered(job, {"shifter_image": SECRET}))

    def test_other_alterations_ask_nothing(self):
        job = self.submit()
        self.pbs.configure({"version": 99})
        self.pbs.alter(job, Job_Name="other")
        self.assertEqual(job["Job_Name"], "other")

    def test_an_alteration_that_fails_in_the_hook_is_refused(self):
        job = self.submit()
        self.pbs.configure([])
        self.assertIn("INTERNAL: ", self.altered(job, {"shifter_modules": "none"}))


if __name__ == "__main__":
    unittest.main()
