"""Dataproc's clusters: state machines that take time, driven by operations."""

import asyncio
import io
import re
import tarfile

from .cluster import Cluster, Clusters
from .errors import ApiError, invalid
from .labels import check_labels
from .operations import TYPE, Operations
from .paths import camel, matches, parse_filter, set_at, value_at
from .state import now_text

NAME = re.compile(r"[a-z]([-a-z0-9]{0,52}[a-z0-9])?")
KIND = "google.cloud.dataproc.v1.Cluster"
EMPTY = "google.protobuf.Empty"
# What may be changed, and whether by itself or with all below it.
CHANGEABLE = ("labels", "config.workerConfig.numInstances", "config.secondaryWorkerConfig.numInstances",
              "config.lifecycleConfig.", "config.autoscalingConfig.policyUri")


def check(call, body):
    """Whether a cluster can be made as asked; raises `ApiError`."""
    name = body.get("clusterName", "")
    if not NAME.fullmatch(name):
        raise invalid(f"Invalid cluster name '{name}': a letter, then letters, digits and hyphens, 54 at most")
    if body.get("projectId", call.project.name) != call.project.name:
        raise invalid("the cluster's projectId is not the project of the path")
    check_labels(body.get("labels", {}))
    config = body.get("config", {})
    workers = config.get("workerConfig", {}).get("numInstances", 2)
    alone = config.get("softwareConfig", {}).get("properties", {}).get("dataproc:dataproc.allow.zero.workers")
    if workers == 1 or (workers == 0 and alone != "true" and config.get("clusterType") != "SINGLE_NODE"):
        raise invalid(f"a cluster has two workers at least, or none with dataproc:dataproc.allow.zero.workers; "
                      f"found {workers}")


def begin(call, cluster, what, past):
    """Starts an operation on a cluster, and the work behind it."""
    labels = dict(cluster.labels)

    def metadata(operation):
        state = "DONE" if operation.done else "RUNNING"
        return {"@type": f"{TYPE}google.cloud.dataproc.v1.ClusterOperationMetadata", "clusterName": cluster.name,
                "clusterUuid": cluster.uuid, "operationType": what, "description": past, "labels": labels,
                "status": {"state": state, "innerState": state, "stateStartTime": now_text()}}
    operations = call.service(Operations)
    parent = f"projects/{call.project.name}/regions/{cluster.region}"
    operation = operations.start(parent, what, cluster.name, metadata)
    request_id = call.params.get("requestId") or call.body.get("requestId")
    return operations.remember(call.method.id, cluster.name, request_id, operation)


def repeated(call, name):
    """The answer to the same request sent again, or None."""
    request_id = call.params.get("requestId") or call.body.get("requestId")
    return call.service(Operations).repeated(call.method.id, name, request_id)


def carry_out(call, operation, cluster, ending, failing="ERROR"):
    """Lets an operation take its time, and then end as told or by `ending`, which may raise `ApiError`."""
    told = call.fault if call.fault and call.fault.kind == "operation_error" else None

    def fail(error):
        if cluster.state != failing:
            cluster.enter(failing, error.message)
        operation.fail(error)

    async def work():
        try:
            await call.project.work(call.project.operation_seconds, "operations")
            if told:
                raise ApiError(500, told.message)
            await ending()
        except asyncio.CancelledError:
            fail(ApiError(500, "the operation was cancelled", status="CANCELLED"))
        except ApiError as error:
            fail(error)
        except Exception as error:  # The fake's own mistake must not leave an operation without an end.
            call.fake.problem(f"{call.method.id}: {type(error).__name__}: {error}")
            operation.fail(ApiError(500, str(error)))
    operation.cancel = call.fake.spawn(work()).cancel


def settle(operation, cluster, state):
    """An ending: the cluster enters a state, and is the operation's answer."""
    async def ending():
        # A cluster that was deleted meanwhile stays deleted.
        if cluster.state == "DELETING":
            raise ApiError(400, f"{cluster.name} was deleted meanwhile", status="ABORTED")
        cluster.enter(state)
        operation.finish(KIND, cluster.show())
    return ending


async def create(call):
    """clusters.create."""
    name, region = call.body.get("clusterName", ""), call.params["region"]
    again = repeated(call, name)
    if again:
        return again.show()
    check(call, call.body)
    clusters = call.service(Clusters)
    if (region, name) in clusters.clusters:
        clusters.refused[region, name] = clusters.refused.get((region, name), 0) + 1
        raise ApiError(409, f"Already exists: Cluster projects/{call.project.name}/regions/{region}/clusters/{name}")
    cluster = clusters.clusters[region, name] = Cluster(call.project, region, call.body)
    clusters.made[region, name] = clusters.made.get((region, name), 0) + 1
    operation = begin(call, cluster, "CREATE", f"Create cluster with {cluster.workers()} workers")
    carry_out(call, operation, cluster, settle(operation, cluster, "RUNNING"))
    return operation.show()


def found(call):
    """The cluster that a call is about; raises `ApiError`."""
    return call.service(Clusters).find(call.params["region"], call.params["clusterName"])


def must_be(cluster, *states):
    """Raises `ApiError` for a cluster in another state."""
    if cluster.state not in states:
        raise ApiError(400, f"Cluster '{cluster.name}' must be {' or '.join(states)} and is {cluster.state}",
                       "failedPrecondition", "FAILED_PRECONDITION")


def same_uuid(call, cluster):
    """Raises `ApiError` when the caller means another cluster of the same name."""
    wanted = call.params.get("clusterUuid") or call.body.get("clusterUuid")
    if wanted and wanted != cluster.uuid:
        raise ApiError(404, f"Not found: Cluster {cluster.name} with UUID {wanted}")


async def get(call):
    """clusters.get."""
    return found(call).show()


async def list_clusters(call):
    """clusters.list."""
    wanted = parse_filter(call.params.get("filter", ""))
    shown = [cluster.show() for (region, _), cluster in call.service(Clusters).clusters.items()
             if region == call.params["region"]]
    return {"clusters": [one for one in shown if matches(one, wanted)]}


async def change(call, operation_name, before, during, after, description):
    """start and stop."""
    again = repeated(call, call.params["clusterName"])
    if again:
        return again.show()
    cluster = found(call)
    same_uuid(call, cluster)
    must_be(cluster, before)
    cluster.enter(during)
    if during == "STOPPING":
        cluster.end_jobs(f"cluster {cluster.name} was stopped")
    operation = begin(call, cluster, operation_name, description)
    carry_out(call, operation, cluster, settle(operation, cluster, after))
    return operation.show()


async def start(call):
    """clusters.start."""
    return await change(call, "START", "STOPPED", "STARTING", "RUNNING", "Start cluster")


async def stop(call):
    """clusters.stop."""
    return await change(call, "STOP", "RUNNING", "STOPPING", "STOPPED", "Stop cluster")


async def patch(call):
    """clusters.patch: scaling, labels and lifetimes."""
    again = repeated(call, call.params["clusterName"])
    if again:
        return again.show()
    cluster = found(call)
    paths = [camel(path) for path in call.params["updateMask"].split(",")] if call.params.get("updateMask") else []
    if not paths:
        raise invalid("updateMask is required")
    for path in paths:
        if not any(path == known or (known.endswith(".") and path.startswith(known)) for known in CHANGEABLE):
            raise invalid(f"'{path}' cannot be changed")
    must_be(cluster, "RUNNING")
    changed = {path: value_at(call.body, path) for path in paths}
    if "labels" in changed:
        check_labels(changed["labels"] or {})
    if changed.get("config.workerConfig.numInstances", 2) in (None, 0, 1):
        raise invalid("a cluster has two workers at least")
    cluster.enter("UPDATING")
    operation = begin(call, cluster, "UPDATE", "Update cluster")

    async def ending():
        for path, value in changed.items():
            set_at(cluster, path, value)
        await settle(operation, cluster, "RUNNING")()
    carry_out(call, operation, cluster, ending, failing="RUNNING")
    return operation.show()


async def delete(call):
    """clusters.delete."""
    again = repeated(call, call.params["clusterName"])
    if again:
        return again.show()
    cluster = found(call)
    same_uuid(call, cluster)
    if cluster.state == "DELETING":
        must_be(cluster, "RUNNING")
    cluster.enter("DELETING")
    cluster.end_jobs(f"cluster {cluster.name} was deleted")
    operation = begin(call, cluster, "DELETE", "Delete cluster")

    async def ending():
        del call.service(Clusters).clusters[cluster.region, cluster.name]
        operation.finish(EMPTY, {})
    carry_out(call, operation, cluster, ending)
    return operation.show()


async def diagnose(call):
    """clusters.diagnose: an archive in the cluster's bucket."""
    cluster = found(call)
    operation = begin(call, cluster, "DIAGNOSE", "Diagnose cluster")
    state = cluster.state
    folder = call.body.get("tarballGcsDir") or (
        f"gs://{cluster.bucket()}/google-cloud-dataproc-metainfo/{cluster.uuid}")
    uri = f"{folder.rstrip('/')}/diagnostic_{operation.name.rpartition('/')[2]}.tar.gz"

    async def ending():
        await call.fake.storage.write(uri, archive({"cluster.txt": f"{cluster.name} {state} {cluster.status}\n"}))
        operation.finish("google.cloud.dataproc.v1.DiagnoseClusterResults", {"outputUri": uri})
    carry_out(call, operation, cluster, ending, failing=state)
    return operation.show()


def archive(files):
    """A compressed archive of some texts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


METHODS = {f"dataproc.projects.regions.clusters.{name}": handler for name, handler in {
    "create": create, "get": get, "list": list_clusters, "patch": patch, "delete": delete, "start": start,
    "stop": stop, "diagnose": diagnose}.items()}
