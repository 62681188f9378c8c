"""BigQuery's jobs: accepted, kept waiting as long as a test wants, then run for real."""

import asyncio
import contextlib
import re
import uuid

import duckdb

from . import datasets, script
from .errors import ApiError, invalid
from .run import Done, Session, rows_json
from .script import SqlError
from .sql import Scope
from .state import now_ms
from .values import from_json, parameter
from .warehouse import Table, billed, name_of

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,1024}")
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
MULTI_REGIONS = ("US", "EU")
# How long `getQueryResults` and `query` wait unless told otherwise, in milliseconds.
PATIENCE = 10_000
PAGE = 10_000


class Jobs:
    """A project's jobs."""

    def __init__(self, project):
        self.project = project
        self.jobs = {}
        self.refused = {}

    def ledger(self):
        """What a test may see of them."""
        return {"jobs": {job.id: job.record(self.refused.get(job.id, 0)) for job in self.jobs.values()}}

    def find(self, job_id, location):
        """A job by its id; only those of US and EU are found without a location. Raises `ApiError`."""
        for place in (location,) if location else MULTI_REGIONS:
            job = self.jobs.get((place.upper(), job_id))
            if job:
                return job
        raise ApiError(404, f"Not found: Job {self.project.name}:{location + '.' if location else ''}{job_id}")


class Job:
    """One job."""

    def __init__(self, fake, project, job_id, location, configuration, account):
        self.fake = fake
        self.project = project
        self.id = job_id
        self.location = location
        self.configuration = configuration
        self.account = account
        self.state = "PENDING"
        self.created = now_ms()
        self.started = self.ended = None
        self.error = None
        self.statements = []
        self.children = []
        self.parent = None
        self.script = False
        self.dry = None
        self.session = None
        self.finished = asyncio.Event()
        self.task = None

    @property
    def query(self):
        """The query's part of the configuration."""
        return self.configuration["query"]

    @property
    def last(self):
        """The statement whose result is the job's."""
        return self.dry or (self.statements[-1] if self.statements else Done("SCRIPT"))

    def record(self, refused):
        """What the ledger shows."""
        return {"service": "bigquery", "state": self.state, "error": self.error, "location": self.location,
                "made": 1, "refused": refused, "parent": self.parent and self.parent.id,
                "labels": self.configuration.get("labels", {}), "statement": self.kind()}

    def kind(self):
        """BigQuery's name of what the job does."""
        return "SCRIPT" if self.script else self.last.kind

    async def run(self, fault):
        """Waits and works until the job is done."""
        try:
            await asyncio.sleep(self.project.pending_seconds)
            self.state, self.started = "RUNNING", now_ms()
            await self.project.work(self.project.job_seconds, "jobs")
            if fault:
                raise SqlError(fault.message, fault.reason or "backendError")
            await self.fake.warehouse.run(self.work)
        except SqlError as error:
            self.error = {"reason": error.reason, "message": error.message, "location": "query"}
        except asyncio.CancelledError:
            if self.session:
                self.session.cursor.interrupt()
            self.error = {"reason": "stopped", "message": "Job execution was cancelled: User requested cancellation"}
        except Exception as error:  # The fake's own mistake; the job must end nonetheless, and say so.
            self.fake.problem(f"job {self.id}: {type(error).__name__}: {error}")
            self.error = {"reason": "internalError", "message": f"the fake is wrong: {error}"}
        self.started = self.started or now_ms()
        self.ended, self.state = now_ms(), "DONE"
        self.finished.set()

    def work(self):
        """Runs the script, on one of the warehouse's threads; raises `SqlError`."""
        nodes = script.read(self.query["query"])
        self.script = script.is_script(nodes)
        self.session = Session(self.fake.warehouse, self.scope(), self.location, self.limit(), self.destination())
        try:
            self.session.run(nodes)
        finally:
            self.statements = self.session.done
            if self.script:
                self.make_children()
            self.session.close()
            self.session = None

    def make_children(self):
        """A job for each statement of a script."""
        for index, done in enumerate(self.statements):
            child = Job(self.fake, self.project, f"script_job_{uuid.uuid5(uuid.NAMESPACE_OID, self.id).hex}_{index}",
                        self.location, self.configuration, self.account)
            child.parent, child.statements, child.state = self, [done], "DONE"
            child.created = child.started = done.started
            child.ended = done.ended
            if done.error:
                child.error = {"reason": done.error.reason, "message": done.error.message, "location": "query"}
            child.finished.set()
            self.children.append(child)
            self.project.service(Jobs).jobs[self.location.upper(), child.id] = child

    def scope(self):
        """What names mean in the job's script; raises `SqlError`."""
        default = self.query.get("defaultDataset")
        named, positional = {}, []
        for spec in self.query.get("queryParameters", []):
            if spec.get("name"):
                named[spec["name"].lower()] = parameter(spec)
            else:
                positional.append(parameter(spec))
        dataset = (default.get("projectId", self.project.name), default["datasetId"]) if default else None
        return Scope(self.project.name, dataset, named, positional)

    def limit(self):
        """The most bytes that may be billed, or None."""
        limit = self.query.get("maximumBytesBilled")
        return int(limit) if limit else None

    def destination(self):
        """The table that a SELECT shall fill, and how, or None."""
        table = self.query.get("destinationTable")
        if not table:
            return None
        whole = (table.get("projectId", self.project.name), table["datasetId"], table["tableId"])
        return whole, self.query.get("writeDisposition", "WRITE_EMPTY")

    def show(self, full=True):
        """The job as the API shows it."""
        name = self.project.name
        result = {"kind": "bigquery#job", "etag": f"{self.state}-{self.created}",
                  "id": f"{name}:{self.location}.{self.id}", "user_email": self.account,
                  "selfLink": f"{self.fake.url}/bigquery/v2/projects/{name}/jobs/{self.id}?location={self.location}",
                  "jobReference": self.reference(), "status": {"state": self.state}, "statistics": self.statistics()}
        if full:
            result["configuration"] = {**self.configuration, "jobType": "QUERY"}
        if self.error and self.state == "DONE":
            result["status"]["errorResult"] = self.error
            result["status"]["errors"] = [self.error]
        return result

    def reference(self):
        """The job's whole name."""
        return {"projectId": self.project.name, "jobId": self.id, "location": self.location}

    def processed(self):
        """The bytes that the job has read."""
        return self.dry.processed if self.dry else sum(done.processed for done in self.statements)

    def statistics(self):
        """The job's statistics, as far as it has come."""
        result = {"creationTime": self.created}
        if self.started:
            result["startTime"] = self.started
        if self.parent:
            result["parentJobId"] = self.parent.id
        if self.children:
            result["numChildJobs"] = str(len(self.children))
        if self.state != "DONE":
            return result
        processed = self.processed()
        slots = str(1 + processed // 1_000_000)
        result.update(endTime=self.ended or now_ms(), totalBytesProcessed=str(processed))
        if not self.dry:
            result["totalSlotMs"] = slots
        result["query"] = self.query_statistics(processed, slots)
        return result

    def query_statistics(self, processed, slots):
        """The query's own statistics."""
        last = self.last
        result = {"statementType": self.kind(), "totalBytesProcessed": str(processed)}
        if self.dry:
            result["totalBytesBilled"] = "0"
            if last.fields:
                result["schema"] = {"fields": last.fields}
        else:
            result.update(totalBytesBilled=str(billed(processed)), cacheHit=False, totalSlotMs=slots, billingTier=1)
        if self.script:
            return result
        if last.affected is not None:
            result["numDmlAffectedRows"] = str(last.affected)
            kinds = {"INSERT": "insertedRowCount", "UPDATE": "updatedRowCount", "DELETE": "deletedRowCount"}
            if last.kind in kinds:
                result["dmlStats"] = {kinds[last.kind]: str(last.affected)}
        if last.operation:
            result["ddlOperationPerformed"] = last.operation
        if last.operation and last.target and last.target[2]:
            result["ddlTargetTable"] = table_reference(last.target)
        if last.reads:
            result["referencedTables"] = [table_reference(whole) for whole in dict.fromkeys(last.reads)]
        return result


def table_reference(whole):
    """A table's name as the API shows it."""
    return dict(zip(("projectId", "datasetId", "tableId"), whole))


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


def check_labels(labels):
    """Google's rules for labels; raises `ApiError`."""
    if len(labels) > 64:
        raise invalid(f"{len(labels)} labels, at most 64 are allowed")
    for key, value in labels.items():
        # Letters of other scripts are allowed too, as long as they have no upper case.
        if not LABEL_KEY.fullmatch(key) and not (key[:1].isalpha() and foreign(key)):
            raise invalid(f'Invalid label key "{key}"')
        if not LABEL_VALUE.fullmatch(value) and not foreign(value):
            raise invalid(f'Invalid value "{value}" of label "{key}"')


def foreign(text):
    """Whether text may stand in a label by its letters of other scripts."""
    return len(text) <= 63 and all(char in "_-" or char.isnumeric() or (char.isalpha() and char == char.lower())
                                   for char in text)


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


async def load(fake, body):
    """Writes rows into a table, which is made where it does not exist; answers how many there were."""
    project, dataset = body["project"], body.get("dataset")
    if fake.warehouse.dataset(project, dataset) is None:
        raise ApiError(404, f"Not found: Dataset {project}:{dataset}")
    whole = (project, dataset, body["table"])
    try:
        return {"rows": await fake.warehouse.run(write_rows, fake.warehouse, whole, body)}
    except (duckdb.Error, SqlError) as error:
        raise invalid(str(error)) from error


def write_rows(warehouse, whole, body):
    """Writes rows on one of the warehouse's threads."""
    fields, rows, mode = body["schema"], body["rows"], body.get("mode", "append")
    fields = fields.get("fields") if isinstance(fields, dict) else fields
    if mode not in ("append", "overwrite"):
        raise SqlError(f"no mode {mode}")
    tables = warehouse.dataset(*whole[:2]).tables
    with warehouse.writing:
        if mode == "overwrite" or whole[2] not in tables:
            datasets.create_table(warehouse, whole, fields)
            tables[whole[2]] = Table()
        if rows:
            marks = ", ".join("?" for _ in fields)
            values = [[from_json(row.get(field["name"]), field) for field in fields] for row in rows]
            warehouse.connection.executemany(f"INSERT INTO {name_of(whole)} VALUES ({marks})", values)
    return len(rows)


METHODS = {
    "bigquery.jobs.insert": insert,
    "bigquery.jobs.get": get,
    "bigquery.jobs.list": list_jobs,
    "bigquery.jobs.cancel": cancel,
    "bigquery.jobs.getQueryResults": query_results,
    "bigquery.jobs.query": query,
}
