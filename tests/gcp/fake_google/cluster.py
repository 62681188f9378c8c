"""One Dataproc cluster, with what Dataproc adds to its configuration."""

import copy
import re
import uuid

from .errors import not_found
from .state import now_text

COMPUTE = "https://www.googleapis.com/compute/v1/projects"


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
            # The same name in another region is another cluster, which a test must not miss.
            times += result.get(key[1], {}).get("made", 0)
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
