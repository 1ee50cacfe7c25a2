"""What the tests of the hook share. The native programs are the real ones, and jobs really run; PBS is the stand-in of test/harness/pbs."""
import os
import pwd
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../harness/pbs"))
from complex import Complex, Rejected  # noqa: E402

HOOK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../hooks/pbs/shifter_hook.py")
PREFIX, RUN, IMAGE, REFERENCE, SECRET, ALICE, BOB = (
    os.environ[name] for name in ("TEST_PREFIX", "TEST_RUN", "TEST_IMAGE", "TEST_REFERENCE", "TEST_SECRET", "TEST_USER_A", "TEST_USER_B"))
WRAPPER = PREFIX + "/libexec/shifter/shifter-pbs"
SCRIPT = "#!/bin/sh\ncat /etc/os-release\n"
INSIDE = 'PRETTY_NAME="Test image"\n'


class HookTest(unittest.TestCase):
    """A complex with the hook, and a configuration of the site's."""

    def setUp(self):
        self.pbs = Complex(HOOK, self.config())
        self.addCleanup(self.pbs.close)
        self.addCleanup(self.nothing_left)

    def config(self, **more):
        return dict({"version": 1, "prefix": PREFIX, "runDirectory": RUN, "seconds": 30}, **more)

    def submit(self, user=ALICE, image=IMAGE, script=SCRIPT, resources=None, **attributes):
        asked = {} if image is None else {"shifter_image": image}
        return self.pbs.submit(user, dict(asked, **(resources or {})), script=script, **attributes)

    def refused(self, *arguments, **more):
        with self.assertRaises(Rejected) as caught:
            self.submit(*arguments, **more)
        return str(caught.exception)

    def state(self, job):
        return os.path.join(RUN, "pbs/jobs", job["id"])

    def nothing_left(self):
        for place in ("pbs/jobs", "pbs/locks", "jobs"):
            directory = os.path.join(RUN, place)
            self.assertEqual(os.listdir(directory) if os.path.isdir(directory) else [], [], place)


def uid_of(user):
    return pwd.getpwnam(user).pw_uid
