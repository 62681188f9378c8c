"""Dataproc's jobs on clusters."""

import asyncio
import re
import uuid
from collections import Counter

from .cluster import Clusters
from .clusters import must_be
from .errors import ApiError, invalid, not_found
from .labels import check_labels
from .operations import TYPE, Operations
from .paths import matches, parse_filter
from .spark import Failed, Work, mistakes
from .state import now_text

JOB_ID = re.compile(r"[a-zA-Z0-9_-]{1,100}")
KINDS = {"pysparkJob": "python", "sparkJob": "jar", "sparkSqlJob": "sql"}
OTHERS = ("hadoopJob", "hiveJob", "pigJob", "sparkRJob", "prestoJob", "trinoJob", "flinkJob")
ENDS = ("DONE", "ERROR", "CANCELLED")


class Jobs:
    """A project's jobs."""

    def __init__(self, project):
        self.project = project
        self.jobs = {}
        self.by_request = {}
        self.made = Counter()
        self.refused = {}
        self.gone = {}

    def ledger(self):
        """What a test may see of them."""
        return {"jobs": {**self.gone, **{job.id: self.record(job, job.state) for job in self.jobs.values()}}}

    def record(self, job, state):
        """What the ledger shows of one."""
        return {"service": "dataproc", "state": state, "error": job.status.get("details"), "made": self.made[job.id],
                "refused": self.refused.get(job.id, 0), "cluster": job.cluster.name, "region": job.region,
                "labels": job.body.get("labels", {}), "parent": None}

    def find(self, region, job_id):
        """A job; raises `ApiError`."""
        if (region, job_id) not in self.jobs:
            raise not_found(f"Job projects/{self.project.name}/regions/{region}/jobs/{job_id}")
        return self.jobs[region, job_id]


class Job:
    """One job."""

    def __init__(self, call, cluster, job_id, body):
        self.project = call.project
        self.region = cluster.region
        self.cluster = cluster
        self.id = job_id
        self.body = body
        self.uuid = str(uuid.uuid4())
        self.fault = call.fault if call.fault and call.fault.kind == "job_error" else None
        folder = f"gs://{cluster.bucket()}/google-cloud-dataproc-metainfo/{cluster.uuid}/jobs/{job_id}"
        self.folder = folder
        environment = {"FAKE_GOOGLE_PROJECT": call.project.name, "FAKE_GOOGLE_REGION": self.region,
                       "FAKE_GOOGLE_JOB": job_id, "FAKE_GOOGLE_CLUSTER": cluster.name}
        self.work = Work(call.fake, call.project, f"{folder}/driveroutput", environment)
        self.history = []
        self.state = None
        self.enter("PENDING")
        self.operation = None
        self.work.task = call.fake.spawn(self.run(call.fake))

    @property
    def ended(self):
        """Whether nothing more will happen."""
        return self.state in ENDS

    def enter(self, state, details=None):
        """Goes to another state."""
        if self.state is not None:
            self.history.append(self.status)
        self.state = state
        self.status = {"state": state, "stateStartTime": now_text()}
        if details:
            self.status["details"] = details

    async def run(self, fake):
        """The job's life."""
        try:
            await asyncio.sleep(self.project.pending_seconds)
            self.enter("SETUP_DONE")
            self.enter("RUNNING")
            if self.fault:
                await self.project.work(self.project.job_seconds, "jobs")
                raise Failed(self.fault.message)
            with mistakes(fake, f"job {self.id}"):
                key = next(key for key in KINDS if key in self.body)
                await self.work.run(KINDS[key], self.body[key])
            await self.project.work(0, "jobs")
            self.enter("DONE")
        except Failed as failed:
            self.enter("ERROR", str(failed))
        except asyncio.CancelledError:
            self.cancelled()
        if self.operation:
            self.end_operation()

    def cancelled(self):
        """The end of a job that was ended from outside."""
        if self.state in ("CANCEL_PENDING", "CANCEL_STARTED"):
            self.enter("CANCEL_STARTED")
            self.enter("CANCELLED", "Job cancelled by the user")
        else:
            self.enter("ERROR", self.work.ended_by or "the fake has ended")

    def end_operation(self):
        """The end of `submitAsOperation`."""
        if self.state == "DONE":
            self.operation.finish("google.cloud.dataproc.v1.Job", self.show())
        else:
            status = "CANCELLED" if self.state == "CANCELLED" else "UNKNOWN"
            self.operation.fail(ApiError(500, self.status.get("details", self.state), status=status))

    def show(self):
        """The job as the API shows it."""
        placement = {"clusterName": self.cluster.name, "clusterUuid": self.cluster.uuid}
        result = {**self.body, "reference": {"projectId": self.project.name, "jobId": self.id},
                  "placement": placement, "status": self.status, "jobUuid": self.uuid,
                  "driverControlFilesUri": f"{self.folder}/", "driverOutputResourceUri": f"{self.folder}/driveroutput"}
        if self.history:
            result["statusHistory"] = list(self.history)
        if self.ended:
            result["done"] = True
        return result


def make(call):
    """A new job, or the one that the same request made before; raises `ApiError`."""
    jobs, region = call.service(Jobs), call.params["region"]
    request_id = call.body.get("requestId")
    if request_id and (region, request_id) in jobs.by_request:
        return jobs.by_request[region, request_id]
    body = dict(call.body.get("job", {}))
    reference = body.get("reference", {})
    if reference.get("projectId", call.project.name) != call.project.name:
        raise invalid("the job's projectId is not the project of the path")
    job_id = reference.get("jobId") or str(uuid.uuid4())
    check(job_id, body)
    if (region, job_id) in jobs.jobs:
        jobs.refused[job_id] = jobs.refused.get(job_id, 0) + 1
        raise ApiError(409, f"Already exists: Job projects/{call.project.name}/regions/{region}/jobs/{job_id}")
    cluster = call.service(Clusters).find(region, body["placement"]["clusterName"])
    must_be(cluster, "RUNNING", "UPDATING")
    job = jobs.jobs[region, job_id] = Job(call, cluster, job_id, body)
    cluster.jobs.append(job)
    jobs.made[job_id] += 1
    if request_id:
        jobs.by_request[region, request_id] = job
    return job


def check(job_id, body):
    """Whether a job can be run as asked; raises `ApiError`."""
    if not JOB_ID.fullmatch(job_id):
        raise invalid(f"Invalid job id '{job_id}'")
    kinds = [key for key in (*KINDS, *OTHERS) if key in body]
    if len(kinds) != 1:
        raise invalid(f"a job has one type, found {', '.join(kinds) or 'none'}")
    if kinds[0] in OTHERS:
        raise ApiError(501, f"the fake runs no {kinds[0]}")
    if kinds[0] == "pysparkJob" and not body["pysparkJob"].get("mainPythonFileUri"):
        raise invalid("mainPythonFileUri is required")
    sql = body.get("sparkSqlJob")
    if sql is not None and bool(sql.get("queryFileUri")) == bool(sql.get("queryList", {}).get("queries")):
        raise invalid("one of queryFileUri and queryList is required")
    if not body.get("placement", {}).get("clusterName"):
        raise invalid("placement.clusterName is required")
    check_labels(body.get("labels", {}))


async def submit(call):
    """jobs.submit."""
    return make(call).show()


async def submit_as_operation(call):
    """jobs.submitAsOperation."""
    job = make(call)
    if job.operation is None:
        def metadata(_operation):
            return {"@type": f"{TYPE}google.cloud.dataproc.v1.JobMetadata", "jobId": job.id, "status": job.status,
                    "operationType": "SUBMIT_JOB", "startTime": (job.history or [job.status])[0]["stateStartTime"]}
        parent = f"projects/{call.project.name}/regions/{job.region}"
        job.operation = call.service(Operations).start(parent, "SUBMIT_JOB", job.id, metadata)
        job.operation.cancel = lambda: cancel_job(job)
    return job.operation.show()


def found(call):
    """The job that a call is about; raises `ApiError`."""
    return call.service(Jobs).find(call.params["region"], call.params["jobId"])


async def get(call):
    """jobs.get."""
    return found(call).show()


async def list_jobs(call):
    """jobs.list."""
    wanted = parse_filter(call.params.get("filter", ""))
    which = call.params.get("jobStateMatcher", "ALL").upper()
    cluster = call.params.get("clusterName")
    jobs = [job for (region, _), job in reversed(call.service(Jobs).jobs.items())
            if region == call.params["region"] and cluster in (None, job.cluster.name)
            and (which == "ALL" or (which == "NON_ACTIVE") == job.ended)]
    active = [("ACTIVE" if not job.ended else "NON_ACTIVE", job.show()) for job in jobs]
    return {"jobs": [shown for state, shown in active if matches_state(shown, state, wanted)]}


def matches_state(shown, state, wanted):
    """A filter may also ask for `status.state = ACTIVE`."""
    rest = [(path, value) for path, value in wanted if not (path == "status.state" and value == state)]
    return matches(shown, rest)


async def cancel(call):
    """jobs.cancel: the job ends a little later."""
    job = found(call)
    if job.ended:
        raise ApiError(400, f"Cannot cancel job '{job.id}' in state {job.state}", "failedPrecondition",
                       "FAILED_PRECONDITION")
    cancel_job(job)
    return job.show()


def cancel_job(job):
    """Begins to cancel a job."""
    if job.state not in ("CANCEL_PENDING", "CANCEL_STARTED"):
        job.enter("CANCEL_PENDING")
        job.work.end("cancelled")


async def delete(call):
    """jobs.delete."""
    job = found(call)
    if not job.ended:
        raise ApiError(400, f"job '{job.id}' is {job.state}", "failedPrecondition", "FAILED_PRECONDITION")
    jobs = call.service(Jobs)
    jobs.gone[job.id] = jobs.record(job, "DELETED")
    del jobs.jobs[job.region, job.id]
    return {}


METHODS = {f"dataproc.projects.regions.jobs.{name}": handler for name, handler in {
    "submit": submit, "submitAsOperation": submit_as_operation, "get": get, "list": list_jobs, "cancel": cancel,
    "delete": delete}.items()}
