"""What the fake keeps of each project: settings, faults to come, and the ledger of what was asked."""

import asyncio
import time

from .errors import ApiError, invalid

FAULTS = {"400", "403", "429", "500", "503", "reset", "lost_reply", "job_error", "operation_error", "unauthorized"}
# Calls of functions, which are no method of Google's.
CALL = "functions.call"
# Which of a project's work a held project keeps from ending.
HOLDS = {True: {"jobs", "operations"}, False: set(), "jobs": {"jobs"}, "operations": {"operations"}}
SECONDS = ("pending_seconds", "job_seconds", "operation_seconds")


class Project:
    """One project, and all that is separate from other projects."""

    def __init__(self, name):
        self.name = name
        self.pending_seconds = 0.02
        self.job_seconds = 0.05
        self.operation_seconds = 0.05
        self.held = set()
        self.changed = asyncio.Event()
        self.faults = []
        self.requests = []
        # What each service keeps, made by the service when it is first asked.
        self.services = {}

    def service(self, kind):
        """The project's part of a service, `kind(project)` at first."""
        if kind not in self.services:
            self.services[kind] = kind(self)
        return self.services[kind]

    def set(self, settings):
        """Changes how long things take, and what is held back."""
        for name, value in settings.items():
            if name in SECONDS and isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
                setattr(self, name, value)
            elif name == "hold" and isinstance(value, (bool, str)) and value in HOLDS:
                self.held = HOLDS[value]
            else:
                raise invalid(f"no setting {name} = {value!r}")
        self.changed.set()
        self.changed = asyncio.Event()

    async def work(self, seconds, what):
        """Lets time pass as remote work does, and then waits until `what` is not held."""
        await asyncio.sleep(seconds)
        while what in self.held:
            await self.changed.wait()

    def fault_for(self, method, dry_run=False):
        """The next fault that a request of this method shall meet, or None."""
        for fault in self.faults:
            if fault.matches(method) and fault.dry_run == dry_run:
                fault.times -= 1
                self.faults = [other for other in self.faults if other.times > 0]
                return fault
        return None


class Fault:
    """One thing that shall go wrong, some times."""

    def __init__(self, methods, spec):
        self.method = spec.get("method", "")
        self.kind = str(spec.get("fault", ""))
        self.times = spec.get("times", 1)
        self.reason = spec.get("reason")
        self.dry_run = spec.get("dry_run", False)
        self.message = spec.get("message") or f"told to fail with {self.kind}"
        hit = [method for method in methods.values() if self.matches(method.id)]
        if not hit and self.method != CALL:
            raise invalid(f"no method {self.method!r}; the names are those of the discovery documents")
        if self.kind not in FAULTS:
            raise invalid(f"no fault {self.kind!r}; there are {', '.join(sorted(FAULTS))}")
        if not isinstance(self.times, int) or self.times < 1:
            raise invalid(f"times must be a number above 0, found {self.times!r}")
        if self.kind == "operation_error" and not any(method.response == "Operation" for method in hit):
            raise invalid(f"{self.method} starts no operation")
        if self.kind == "job_error" and not any(makes_job(method) for method in hit):
            raise invalid(f"{self.method} makes no job")

    def matches(self, method):
        """Whether a method is meant, by its full name or without `projects.regions` or `projects.locations`."""
        short = method.replace(".projects.regions.", ".").replace(".projects.locations.", ".")
        return self.method in (method, short)

    def error(self):
        """The answer of a fault that refuses a request, or None for one of another sort."""
        http = {"400": 400, "403": 403, "429": 429, "500": 500, "503": 503, "unauthorized": 401}.get(self.kind)
        return ApiError(http, self.message, self.reason) if http else None


def makes_job(method):
    """Whether a method begins remote work that can end in an error of its own."""
    return method.id.endswith((".jobs.insert", ".jobs.query", ".jobs.submit", ".jobs.submitAsOperation",
                               ".batches.create"))


def now_ms():
    """Milliseconds since 1970, as BigQuery writes times."""
    return str(int(time.time() * 1000))


def now_text():
    """The time as most other services write it."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"
