"""BigQuery's jobs, as the API's methods see them."""

import asyncio
import contextlib
import re
import uuid

from . import script
from .errors import ApiError, invalid
from .job import Job, Jobs
from .labels import check_labels
from .run import Session, rows_json
from .script import SqlError
from .state import now_ms

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,1024}")
# How long `getQueryResults` and `query` wait unless told otherwise, in milliseconds.
PATIENCE = 10_000
PAGE = 10_000


def checked(call, configuration):
    """A job's configuration, if the fake can carry it out; raises `ApiError`."""
    query = configuration.get("query")
    if query is None:
        others = [kind for kind in ("load", "copy", "extract") if kind in configuration]
        if others:
            raise ApiError(501, f"the fake runs query jobs only, not {others[0]}")
        raise invalid("Required parameter is missing", "required")
    if not query.get("query"):
        raise invalid("Required parameter is missing: query", "required")
    # Google would take the query for legacy SQL.
    if query.get("useLegacySql", True):
        raise invalid("the fake runs GoogleSQL only, and the API's default is legacy SQL: useLegacySql must be false")
    if query.get("priority", "INTERACTIVE").upper() not in ("INTERACTIVE", "BATCH"):
        raise invalid(f"Invalid value for priority: {query['priority']}")
    limit = query.get("maximumBytesBilled")
    if limit is not None and int(limit) < 0:
        raise invalid(f"Invalid value for maximumBytesBilled: {limit}")
    check_labels(configuration.get("labels", {}))
    return configuration


def place_of(call, configuration, wanted):
    """Where a job runs: where it says, else where its default dataset is, else in the US."""
    if wanted:
        return wanted
    default = configuration["query"].get("defaultDataset", {})
    dataset = call.fake.warehouse.dataset(default.get("projectId", call.project.name), default.get("datasetId"))
    return dataset.location if dataset else "US"


async def insert(call):
    """jobs.insert."""
    reference = call.body.get("jobReference", {})
    if reference.get("projectId") not in (None, "", call.project.name):
        raise invalid("jobReference.projectId is not the project of the path")
    configuration = checked(call, call.body.get("configuration", {}))
    job = make(call, configuration, reference.get("jobId"), reference.get("location"))
    if configuration.get("dryRun"):
        await dry_run(job)
    else:
        begin(call, job)
    return job.show()


def make(call, configuration, job_id, location):
    """A new job, unless its id is taken or no id; raises `ApiError`."""
    jobs = call.service(Jobs)
    job_id = job_id or f"job_{uuid.uuid4().hex}"
    if not JOB_ID.fullmatch(job_id):
        raise invalid(f'Invalid job ID "{job_id}"')
    job = Job(call.fake, call.project, job_id, place_of(call, configuration, location), configuration, call.account)
    if (job.location.upper(), job_id) in jobs.jobs:
        jobs.refused[job_id] = jobs.refused.get(job_id, 0) + 1
        raise ApiError(409, f"Already Exists: Job {call.project.name}:{job.location}.{job_id}")
    return job


def begin(call, job):
    """Lets a job take its course."""
    call.service(Jobs).jobs[job.location.upper(), job.id] = job
    fault = call.fault if call.fault and call.fault.kind == "job_error" else None
    job.task = call.fake.spawn(job.run(fault))


async def dry_run(job):
    """What a job would do; no job is kept. Raises `ApiError` for what the query has wrong."""
    def plan():
        session = Session(job.fake.warehouse, job.scope(), job.location, job.limit())
        try:
            return session.plan(script.read(job.query["query"]))
        finally:
            session.close()
    try:
        job.dry = await job.fake.warehouse.run(plan)
    except SqlError as error:
        http = {"notFound": 404, "duplicate": 409}.get(error.reason, 400)
        raise ApiError(http, error.message, error.reason) from error
    job.script = job.dry.kind == "SCRIPT"
    job.state = "DONE"


async def get(call):
    """jobs.get."""
    return call.service(Jobs).find(call.params["jobId"], call.params.get("location")).show()


async def cancel(call):
    """jobs.cancel: the answer comes before the job has ended."""
    job = call.service(Jobs).find(call.params["jobId"], call.params.get("location"))
    if job.state != "DONE":
        job.task.cancel()
    return {"kind": "bigquery#jobCancelResponse", "job": job.show()}


async def list_jobs(call):
    """jobs.list, the newest first."""
    parent, states = call.params.get("parentJobId"), [state.upper() for state in call.params.get("stateFilter", [])]
    low, high = int(call.params.get("minCreationTime", 0)), int(call.params.get("maxCreationTime", 2**62))
    found = [job for job in reversed(call.service(Jobs).jobs.values())
             if (job.parent and job.parent.id) == parent and (not states or job.state in states)
             and low <= int(job.created) <= high]
    start, count = int(call.params.get("pageToken") or 0), call.params.get("maxResults") or 1000
    full = call.params.get("projection", "minimal").lower() == "full"
    answer = {"kind": "bigquery#jobList", "etag": now_ms(), "jobs": []}
    for job in found[start:start + count]:
        shown = job.show(full)
        shown.pop("etag"), shown.pop("selfLink")
        shown["state"] = job.state
        if job.error:
            shown["errorResult"] = job.error
        answer["jobs"].append(shown)
    if start + count < len(found):
        answer["nextPageToken"] = str(start + count)
    return answer


async def query_results(call):
    """jobs.getQueryResults: waits a while for the job, then answers a page of its rows."""
    job = call.service(Jobs).find(call.params["jobId"], call.params.get("location"))
    await wait(job, call.params.get("timeoutMs", PATIENCE))
    answer = {"kind": "bigquery#getQueryResultsResponse", "etag": f"{job.state}-{job.created}"}
    start = int(call.params.get("pageToken") or call.params.get("startIndex") or 0)
    return {**answer, **result_of(job, start, call.params.get("maxResults"),
                                  call.params.get("formatOptions.useInt64Timestamp", False))}


async def wait(job, milliseconds):
    """Waits for a job's end, for so long."""
    with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
        await asyncio.wait_for(job.finished.wait(), int(milliseconds) / 1000)


def result_of(job, start, count, micros):
    """A page of a job's rows; raises `ApiError` for a job that has failed."""
    result = {"jobReference": job.reference(), "jobComplete": job.state == "DONE"}
    if job.state != "DONE":
        return result
    if job.error:
        http = {"notFound": 404, "duplicate": 409, "backendError": 503, "internalError": 500}
        raise ApiError(http.get(job.error["reason"], 400), job.error["message"], job.error["reason"])
    last = job.last
    result.update(cacheHit=False, totalBytesProcessed=str(job.processed()))
    if last.affected is not None:
        result["numDmlAffectedRows"] = str(last.affected)
    if last.kind != "SELECT":
        return {**result, "totalRows": "0", "schema": {"fields": []}}
    result.update(schema={"fields": last.fields}, totalRows=str(len(last.rows)))
    count = PAGE if count is None else count
    rows = rows_json(last, micros, start, count)
    if rows:
        result["rows"] = rows
    if start + count < len(last.rows):
        result["pageToken"] = str(start + count)
    return result


async def query(call):
    """jobs.query: a job that is waited for in the same request."""
    body = call.body
    kept = ("query", "useLegacySql", "defaultDataset", "maximumBytesBilled", "queryParameters", "parameterMode")
    configuration = {"query": {key: body[key] for key in kept if key in body}, "labels": body.get("labels", {})}
    job = make(call, checked(call, configuration), None, body.get("location"))
    answer = {"kind": "bigquery#queryResponse"}
    if body.get("dryRun"):
        await dry_run(job)
        return {**answer, "jobComplete": True, "totalBytesProcessed": str(job.processed()),
                "schema": {"fields": job.dry.fields}}
    begin(call, job)
    await wait(job, body.get("timeoutMs", PATIENCE))
    micros = body.get("formatOptions", {}).get("useInt64Timestamp", False)
    return {**answer, **result_of(job, 0, body.get("maxResults"), micros)}


METHODS = {
    "bigquery.jobs.insert": insert,
    "bigquery.jobs.get": get,
    "bigquery.jobs.list": list_jobs,
    "bigquery.jobs.cancel": cancel,
    "bigquery.jobs.getQueryResults": query_results,
    "bigquery.jobs.query": query,
}
