"""
A stand-in for the module `pbs` that hooks of OpenPBS import: what it gives, refuses and mangles was seen on OpenPBS 23.06.

One event a process. STANDIN_EVENT names a JSON file that says what the event holds; STANDIN_OUTCOME names the file that accept() and reject()
write. A hook that ends without them leaves no outcome, and what PBS makes of that is in complex.py.
"""
import json
import os

with open(os.environ["STANDIN_EVENT"], encoding="utf-8") as _file:
    _given = json.load(_file)

_EVENTS = ("QUEUEJOB", "MODIFYJOB", "RESVSUB", "MOVEJOB", "RUNJOB", "PROVISION", "EXECJOB_BEGIN", "EXECJOB_PROLOGUE", "EXECJOB_EPILOGUE",
           "EXECJOB_END", "EXECJOB_PRETERM", "EXECJOB_LAUNCH", "EXECHOST_PERIODIC", "EXECHOST_STARTUP", "EXECJOB_ATTACH", "EXECJOB_ABORT")
for _bit, _name in enumerate(_EVENTS):
    globals()[_name] = 1 << _bit
LOG_DEBUG, LOG_WARNING, LOG_ERROR = 5, 6, 7
ND_FREE, ND_OFFLINE = 0, 1
JOB_STATE_QUEUED, JOB_STATE_HELD, JOB_STATE_RUNNING, JOB_STATE_EXITING = 1, 2, 4, 5
hook_config_filename = _given.get("config")
pbs_conf = _given.get("pbs_conf", {})


class EventIncompatibleError(AttributeError):
    pass


class UnsetAttributeNameError(Exception):
    pass


class BadAttributeValueError(Exception):
    pass


class UnsetResourceNameError(Exception):
    pass


class path_list:
    """As every value of a job that is no number: an object, whose text is the value."""

    def __init__(self, value):
        self.value = value

    def __str__(self):
        return str(self.value)

    __repr__ = __str__


class _Resources:
    """Attributes of an object, so an unknown name is an AttributeError; None is a known one without a value."""

    def __init__(self, values, server):
        self.__dict__["_values"] = dict.fromkeys(_given.get("resources", ()))
        self._values.update(values)
        self.__dict__["_server"] = server

    def __getitem__(self, name):
        if name not in self._values:
            raise AttributeError("'pbs_resource' object has no attribute '%s'" % name)
        return self._values[name]

    def __setitem__(self, name, value):
        if name not in self._values and self._server:
            raise UnsetResourceNameError("resource attribute '%s' not found" % name)
        self._values[name] = value

    def keys(self):
        return [name for name, value in self._values.items() if value is not None]


_NAMES = frozenset((
    "Job_Name", "Job_Owner", "job_state", "queue", "euser", "egroup", "User_List", "group_list", "Shell_Path_List", "executable",
    "argument_list", "Variable_List", "exec_vnode", "schedselect", "run_count", "session_id", "interactive", "Exit_status", "comment"))


class _Job:
    def __init__(self, values, server):
        self.__dict__.update(id=values["id"], _values={}, _deleted=False, _server=server)
        for name, value in values.items():
            if name == "Resource_List":
                self.__dict__["Resource_List"] = _Resources(value, server)
            elif name != "id":
                self._values[name] = path_list(value) if name == "Shell_Path_List" else value
        self.__dict__.setdefault("Resource_List", _Resources({}, server))

    def __getattr__(self, name):
        if name not in _NAMES:
            raise UnsetAttributeNameError("job attribute '%s' not found" % name)
        return self._values.get(name)

    def __setattr__(self, name, value):
        if name not in _NAMES:
            raise UnsetAttributeNameError("job attribute '%s' not found" % name)
        if name == "Shell_Path_List" and not isinstance(value, path_list):
            raise BadAttributeValueError("Shell_Path_List is a pbs.path_list")
        self._values[name] = value

    def delete(self):
        if self._server:
            raise NotImplementedError("delete(): only for mom hooks")
        self.__dict__["_deleted"] = True

    def told(self):
        values = {name: str(value) if isinstance(value, path_list) else value for name, value in self._values.items()}
        return dict(values, id=self.id, Resource_List=self.Resource_List._values)


class _Vnode:
    def __init__(self, values):
        self.resources_available = _Resources(values.get("resources_available", {}), False)
        self.state, self.comment = values.get("state"), None


class _Event:
    """Names that this kind of event does not have raise an error of PBS's own, and those that it has can't all be set."""

    def __init__(self):
        kind = _given["type"]
        server = kind in ("QUEUEJOB", "MODIFYJOB")
        own = {"type": globals()[kind], "hook_name": "shifter", "hook_type": "site", "requestor": _given.get("requestor", "pbs_mom"),
               "requestor_host": "node1"}
        if "job" in _given:
            own["job"] = _Job(_given["job"], server)
        if "job_o" in _given:
            own["job_o"] = _Job(_given["job_o"], server)
        if "job_list" in _given:
            own["job_list"] = {name: _Job(dict(values, id=name), False) for name, values in _given["job_list"].items()}
        if "vnode_list" in _given:
            own["vnode_list"] = {name: _Vnode(values) for name, values in _given["vnode_list"].items()}
        if kind == "EXECJOB_LAUNCH":
            # An argument is cut at a line feed by the mere fact that there is a hook.
            own.update(progname=_given["progname"], argv=[word.split("\n")[0] for word in _given["argv"]], env=dict(_given["env"]))
        self.__dict__["_param"] = own

    def __getattr__(self, name):
        try:
            return self._param[name]
        except KeyError:
            raise EventIncompatibleError('"%s" not found in self._param' % name)

    def __setattr__(self, name, value):
        if name not in ("progname", "argv", "env") or name not in self._param:
            raise BadAttributeValueError("event attribute '%s' is readonly" % name)
        self._param[name] = value

    def _tell(self, accepted, message):
        job = self._param.get("job")
        told = {"accepted": accepted, "message": message, "job": None if job is None else job.told(), "deleted": job is not None and job._deleted,
                "vnodes": {name: {"state": vnode.state, "comment": vnode.comment} for name, vnode in self._param.get("vnode_list", {}).items()},
                "progname": self._param.get("progname"), "argv": [word.split("\n")[0] for word in self._param.get("argv", ())]}
        with open(os.environ["STANDIN_OUTCOME"], "w", encoding="utf-8") as file:
            json.dump(told, file)

    def accept(self, ecode=0):
        self._tell(True, "")
        raise SystemExit(str(ecode))

    def reject(self, emsg="", ecode=255):
        self._tell(False, emsg)
        raise SystemExit(str(ecode))


_event = _Event()


def event():
    return _event


def get_local_nodename():
    return _given.get("node", "node1")


class _Server:
    def vnode(self, name):
        vnode = _Vnode({})
        vnode.comment = _given.get("comments", {}).get(name)
        return vnode


def server():
    return _Server()


def logmsg(level, message):
    if _given.get("python") == "3.10":
        raise SystemError("PY_SSIZE_T_CLEAN macro must be defined for '#' formats")
    with open(os.environ["STANDIN_OUTCOME"] + ".log", "a", encoding="utf-8") as file:
        file.write(message + "\n")


def logjobmsg(job, message):
    logmsg(LOG_ERROR, "%s: %s" % (job, message))
