"""A BigQuery job: kept waiting as long as a test wants, then run for real."""

import asyncio
import uuid
from collections import Counter

from . import script
from .errors import ApiError
from .run import Done, Session
from .script import SqlError
from .sql import Scope
from .state import now_ms
from .values import parameter
from .warehouse import billed

# Jobs there are found without a location.
MULTI_REGIONS = ("US", "EU")


class Jobs:
    """A project's jobs."""

    def __init__(self, project):
        self.project = project
        self.jobs = {}
        self.refused = {}

    def ledger(self):
        """What a test may see of them."""
        # An id may be taken once in each location; a test wants to know of every job that was made.
        made = Counter(job.id for job in self.jobs.values())
        return {"jobs": {job.id: job.record(made[job.id], self.refused.get(job.id, 0)) for job in self.jobs.values()}}

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

    def record(self, made, refused):
        """What the ledger shows."""
        return {"service": "bigquery", "state": self.state, "error": self.error, "location": self.location,
                "made": made, "refused": refused, "parent": self.parent and self.parent.id,
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
            result["scriptStatistics"] = frame_of(self.last.leaf)
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


def frame_of(leaf):
    """Where in its script a statement stands, as the API shows it."""
    lines = leaf.text.split("\n")
    column = len(lines[-1]) + (leaf.col if len(lines) == 1 else 1)
    frame = {"startLine": leaf.line, "startColumn": leaf.col, "endLine": leaf.line + len(lines) - 1,
             "endColumn": column, "text": leaf.text}
    return {"evaluationKind": "STATEMENT", "stackFrames": [frame]}


def table_reference(whole):
    """A table's name as the API shows it."""
    return dict(zip(("projectId", "datasetId", "tableId"), whole))
