"""Dataproc's clusters: state machines that take time, driven by operations."""

import copy
import io
import re
import tarfile
import uuid

from .bigquery import check_labels
from .errors import ApiError, invalid, not_found
from .operations import TYPE, Operations
from .state import now_text

NAME = re.compile(r"[a-z]([-a-z0-9]{0,52}[a-z0-9])?")
COMPUTE = "https://www.googleapis.com/compute/v1/projects"
KIND = "google.cloud.dataproc.v1.Cluster"
EMPTY = "google.protobuf.Empty"
# What may be changed, and whether by itself or with all below it.
CHANGEABLE = ("labels", "config.workerConfig.numInstances", "config.secondaryWorkerConfig.numInstances",
              "config.lifecycleConfig.", "config.autoscalingConfig.policyUri")


class Clusters:
    """A project's clusters."""

    def __init__(self, project):
        self.project = project
        self.clusters = {}
        self.made = {}
        self.refused = {}

    def ledger(self):
        """What a test may see of them, those that are gone included."""
        result = {}
        for key, times in self.made.items():
            cluster = self.clusters.get(key)
            result[key[1]] = {"state": cluster.state if cluster else "DELETED", "made": times,
                              "refused": self.refused.get(key, 0), "region": key[0],
                              "workers": cluster and cluster.workers(), "labels": cluster and cluster.labels}
        return {"clusters": result}

    def find(self, region, name):
        """A cluster; raises `ApiError`."""
        if (region, name) not in self.clusters:
            raise not_found(f"Cluster projects/{self.project.name}/regions/{region}/clusters/{name}")
        return self.clusters[region, name]


class Cluster:
    """One cluster."""

    def __init__(self, project, region, body):
        self.project = project
        self.region = region
        self.name = body["clusterName"]
        self.uuid = str(uuid.uuid4())
        self.labels = {**body.get("labels", {}), "goog-dataproc-cluster-name": self.name,
                       "goog-dataproc-cluster-uuid": self.uuid, "goog-dataproc-location": region}
        self.config = filled(project.name, region, body.get("config", {}))
        self.jobs = []
        self.history = []
        self.state = None
        self.enter("CREATING")

    def enter(self, state, detail=None):
        """Goes to another state."""
        if self.state is not None:
            self.history.append(self.status)
        self.state = state
        self.status = {"state": state, "stateStartTime": now_text()}
        if detail:
            self.status["detail"] = detail

    def end_jobs(self, why):
        """Ends what runs on a cluster that is going away."""
        for job in self.jobs:
            if not job.ended:
                job.work.end(why)

    def workers(self):
        """How many workers there are, of both sorts."""
        return sum(self.config.get(part, {}).get("numInstances", 0) for part in ("workerConfig",
                                                                                 "secondaryWorkerConfig"))

    def show(self):
        """The cluster as the API shows it."""
        result = {"projectId": self.project.name, "clusterName": self.name, "clusterUuid": self.uuid,
                  "config": copy.deepcopy(self.config), "labels": self.labels, "status": self.status}
        if self.history:
            result["statusHistory"] = list(self.history)
        return result

    def bucket(self):
        """Where the cluster keeps what its jobs print."""
        return self.config["configBucket"]


def filled(project, region, config):
    """A cluster's configuration with what Dataproc adds to it."""
    config = copy.deepcopy(config)
    config.setdefault("configBucket", f"dataproc-staging-{region}-{project}"[:63].rstrip("-"))
    config.setdefault("tempBucket", f"dataproc-temp-{region}-{project}"[:63].rstrip("-"))
    machine = config.setdefault("gceClusterConfig", {})
    zone = machine.get("zoneUri", "").rpartition("/")[2] or f"{region}-a"
    machine["zoneUri"] = f"{COMPUTE}/{project}/zones/{zone}"
    for part, count, preemptible in (("masterConfig", 1, "NON_PREEMPTIBLE"), ("workerConfig", 2, "NON_PREEMPTIBLE"),
                                     ("secondaryWorkerConfig", 0, "PREEMPTIBLE")):
        if part == "secondaryWorkerConfig" and part not in config:
            continue
        group = config.setdefault(part, {})
        group.setdefault("numInstances", count)
        kind = group.get("machineTypeUri", "").rpartition("/")[2] or "n1-standard-4"
        group["machineTypeUri"] = f"{COMPUTE}/{project}/zones/{zone}/machineTypes/{kind}"
        group.setdefault("preemptibility", preemptible)
        group.setdefault("diskConfig", {}).setdefault("bootDiskSizeGb", 1000)
        group["diskConfig"].setdefault("bootDiskType", "pd-standard")
    software = config.setdefault("softwareConfig", {})
    version = software.get("imageVersion", "2.2")
    software["imageVersion"] = f"{version}.1-debian12" if re.fullmatch(r"\d+\.\d+", version) else version
    return config


def check(call, body):
    """Whether a cluster can be made as asked; raises `ApiError`."""
    name = body.get("clusterName", "")
    if not NAME.fullmatch(name):
        raise invalid(f"Invalid cluster name '{name}': a lower-case letter, then letters, digits and hyphens, 54 at most")
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
    def metadata(operation):
        state = "DONE" if operation.done else "RUNNING"
        return {"@type": f"{TYPE}google.cloud.dataproc.v1.ClusterOperationMetadata", "clusterName": cluster.name,
                "clusterUuid": cluster.uuid, "operationType": what, "description": past,
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

    async def work():
        try:
            await call.project.work(call.project.operation_seconds, "operations")
            if told:
                raise ApiError(500, told.message)
            await ending()
        except ApiError as error:
            if cluster.state != failing:
                cluster.enter(failing, error.message)
            operation.fail(error)
        except Exception as error:  # The fake's own mistake must not leave an operation without an end.
            call.fake.problem(f"{call.method.id}: {type(error).__name__}: {error}")
            operation.fail(ApiError(500, str(error)))
    call.fake.spawn(work())


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
    cluster = found(call)
    again = repeated(call, cluster.name)
    if again:
        return again.show()
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
    cluster = found(call)
    again = repeated(call, cluster.name)
    if again:
        return again.show()
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
    cluster = found(call)
    again = repeated(call, cluster.name)
    if again:
        return again.show()
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


def camel(path):
    """A field mask's path in JSON's spelling."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), path)


def value_at(body, path):
    """What a body has at a path, or None."""
    for part in path.split("."):
        body = (body or {}).get(part)
    return body


def set_at(cluster, path, value):
    """Changes a cluster at a path."""
    if path == "labels":
        kept = {key: text for key, text in cluster.labels.items() if key.startswith("goog-")}
        cluster.labels = {**(value or {}), **kept}
        return
    set_in(cluster.config, path.removeprefix("config."), value)


def set_in(place, path, value):
    """Changes what a path leads to, or removes it for None."""
    *parents, last = path.split(".")
    for part in parents:
        place = place.setdefault(part, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value


def parse_filter(text):
    """Dataproc's filters: `labels.key = value AND status.state = RUNNING`; raises `ApiError`."""
    wanted = []
    for part in re.split(r"\s+AND\s+", text.strip()) if text.strip() else []:
        match = re.fullmatch(r"([\w.-]+)\s*=\s*\"?([^\"]*)\"?", part)
        if not match:
            raise invalid(f"Invalid filter '{text}'")
        wanted.append((match[1], match[2]))
    return wanted


def matches(shown, wanted):
    """Whether a resource is one that a filter wants."""
    return all((value_at(shown, path) is not None if value == "*" else value_at(shown, path) == value)
               for path, value in wanted)


METHODS = {f"dataproc.projects.regions.clusters.{name}": handler for name, handler in {
    "create": create, "get": get, "list": list_clusters, "patch": patch, "delete": delete, "start": start,
    "stop": stop, "diagnose": diagnose}.items()}
