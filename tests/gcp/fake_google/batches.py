"""Dataproc's serverless batches."""

import asyncio
import re
import uuid

from .errors import ApiError, invalid, not_found
from .labels import check_labels
from .operations import TYPE, Operations
from .paths import matches, parse_filter
from .spark import Failed, Work, mistakes
from .state import now_text

BATCH_ID = re.compile(r"[a-z0-9][a-z0-9-]{2,61}[a-z0-9]")
KINDS = {"pysparkBatch": "python", "sparkBatch": "jar", "sparkSqlBatch": "sql"}
ENDS = ("SUCCEEDED", "FAILED", "CANCELLED")


class Batches:
    """A project's batches."""

    def __init__(self, project):
        self.project = project
        self.batches = {}
        self.made = {}
        self.refused = {}

    def ledger(self):
        """What a test may see of them, those that are gone included."""
        result = {}
        for name, times in self.made.items():
            batch = self.batches.get(name)
            result[name.rpartition("/")[2]] = {
                "state": batch.state if batch else "DELETED", "made": times, "refused": self.refused.get(name, 0),
                "error": batch and batch.message, "labels": batch and batch.body.get("labels", {})}
        return {"batches": result}

    def find(self, name):
        """A batch; raises `ApiError`."""
        if name not in self.batches:
            raise not_found(f"Batch {name}")
        return self.batches[name]


class Batch:
    """One batch."""

    def __init__(self, call, name, body):
        self.project = call.project
        self.name = name
        self.body = body
        self.account = call.account
        self.uuid = str(uuid.uuid4())
        self.created = now_text()
        self.history = []
        self.state = self.message = None
        self.enter("PENDING")
        self.fault = call.fault if call.fault and call.fault.kind in ("job_error", "operation_error") else None
        region = name.split("/")[3]
        execution = body.get("environmentConfig", {}).get("executionConfig", {})
        bucket = execution.get("stagingBucket") or f"dataproc-staging-{region}-{call.project.name}"[:63].rstrip("-")
        output = (f"gs://{bucket}/google-cloud-dataproc-metainfo/{self.uuid}/jobs/srvls-batch-{self.uuid}/driveroutput")
        environment = {"FAKE_GOOGLE_PROJECT": call.project.name, "FAKE_GOOGLE_REGION": region,
                       "FAKE_GOOGLE_BATCH": name.rpartition("/")[2]}
        self.work = Work(call.fake, call.project, output, environment)
        self.operation = call.service(Operations).start("/".join(name.split("/")[:4]), "BATCH", name, self.metadata)
        self.operation.cancel = self.cancel
        self.work.task = call.fake.spawn(self.run(call.fake))

    def enter(self, state, message=None):
        """Goes to another state."""
        if self.state is not None:
            last = {"state": self.state, "stateStartTime": self.since}
            self.history.append({**last, "stateMessage": self.message} if self.message else last)
        self.state, self.message, self.since = state, message, now_text()

    def metadata(self, operation):
        """What the operation tells of the batch."""
        result = {"@type": f"{TYPE}google.cloud.dataproc.v1.BatchOperationMetadata", "batch": self.name,
                  "batchUuid": self.uuid, "createTime": self.created, "description": "Batch", "operationType": "BATCH"}
        return {**result, "doneTime": self.since} if operation.done else result

    async def run(self, fake):
        """The batch's life."""
        try:
            await asyncio.sleep(self.project.pending_seconds)
            self.enter("RUNNING")
            if self.fault:
                await self.project.work(self.project.job_seconds, "jobs")
                raise Failed(self.fault.message)
            key = next(key for key in KINDS if key in self.body)
            program = {**self.body[key], "properties": self.body.get("runtimeConfig", {}).get("properties", {})}
            with mistakes(fake, f"batch {self.name}"):
                await self.work.run(KINDS[key], program)
            await self.project.work(0, "jobs")
            self.enter("SUCCEEDED")
            self.operation.finish("google.cloud.dataproc.v1.Batch", self.show())
        except Failed as failed:
            self.enter("FAILED", str(failed))
            self.operation.fail(ApiError(500, str(failed)))
        except asyncio.CancelledError:
            self.enter("CANCELLED", "the batch was cancelled")
            self.operation.fail(ApiError(500, "the batch was cancelled", status="CANCELLED"))

    def cancel(self):
        """Begins to cancel the batch."""
        if self.state not in (*ENDS, "CANCELLING"):
            self.enter("CANCELLING")
            self.work.end("cancelled")

    def show(self):
        """The batch as the API shows it."""
        result = {**self.body, "name": self.name, "uuid": self.uuid, "createTime": self.created,
                  "runtimeInfo": {"outputUri": self.work.output}, "state": self.state, "stateTime": self.since,
                  "creator": self.account, "operation": self.operation.name}
        if self.message:
            result["stateMessage"] = self.message
        if self.history:
            result["stateHistory"] = list(self.history)
        return result


async def create(call):
    """batches.create."""
    operations, parent = call.service(Operations), call.params["parent"]
    again = operations.repeated(call.method.id, parent, call.params.get("requestId"))
    if again:
        return again.show()
    batch_id = call.params.get("batchId") or str(uuid.uuid4())
    if not BATCH_ID.fullmatch(batch_id):
        raise invalid(f"Invalid batch id '{batch_id}': 4 to 63 characters of a-z, 0-9 and -")
    kinds = [key for key in (*KINDS, "sparkRBatch", "pysparkNotebookBatch") if key in call.body]
    if len(kinds) != 1:
        raise invalid(f"a batch has one type, found {', '.join(kinds) or 'none'}")
    if kinds[0] not in KINDS:
        raise ApiError(501, f"the fake runs no {kinds[0]}")
    needed = {"pysparkBatch": "mainPythonFileUri", "sparkSqlBatch": "queryFileUri"}.get(kinds[0])
    if needed and not call.body[kinds[0]].get(needed):
        raise invalid(f"{needed} is required")
    check_labels(call.body.get("labels", {}))
    batches, name = call.service(Batches), f"{parent}/batches/{batch_id}"
    if name in batches.batches:
        batches.refused[name] = batches.refused.get(name, 0) + 1
        raise ApiError(409, f"Already exists: Batch {name}")
    batch = batches.batches[name] = Batch(call, name, call.body)
    batches.made[name] = batches.made.get(name, 0) + 1
    return operations.remember(call.method.id, parent, call.params.get("requestId"), batch.operation).show()


async def get(call):
    """batches.get."""
    return call.service(Batches).find(call.params["name"]).show()


async def list_batches(call):
    """batches.list."""
    wanted = parse_filter(call.params.get("filter", ""))
    shown = [batch.show() for name, batch in call.service(Batches).batches.items()
             if name.startswith(call.params["parent"] + "/")]
    return {"batches": [one for one in shown if matches(one, wanted)]}


async def delete(call):
    """batches.delete: only one that has ended."""
    batch = call.service(Batches).find(call.params["name"])
    if batch.state not in ENDS:
        raise ApiError(400, f"Batch {batch.name} is {batch.state}", "failedPrecondition", "FAILED_PRECONDITION")
    del call.service(Batches).batches[batch.name]
    return {}


METHODS = {f"dataproc.projects.locations.batches.{name}": handler for name, handler in {
    "create": create, "get": get, "list": list_batches, "delete": delete}.items()}
