"""Dataproc, driven by Google's own client over HTTP."""

import os
import tempfile
import unittest
from unittest import mock

from google.api_core import exceptions
from google.api_core.future.polling import DEFAULT_POLLING
from google.cloud import dataproc_v1
from google.cloud.dataproc_v1.services.batch_controller.transports import BatchControllerRestTransport
from google.cloud.dataproc_v1.services.cluster_controller.transports import ClusterControllerRestTransport
from google.cloud.dataproc_v1.services.job_controller.transports import JobControllerRestTransport

from harness import Fake, FakeTest, Storage, atexit, wait_for

REGION = "us-central1"
States = dataproc_v1.ClusterStatus.State
JobStates = dataproc_v1.JobStatus.State
BatchStates = dataproc_v1.Batch.State
CREATE = "dataproc.clusters.create"
SUBMIT = "dataproc.projects.regions.jobs.submit"
ONCE = {"retry": None}
OFTEN = DEFAULT_POLLING.with_delay(0.01, 0.1)
storage = None


def setUpModule():
    """One storage server for all."""
    global storage
    storage = Storage()
    atexit.register(storage.stop)


class DataprocTest(FakeTest):
    """Tests with a bucket."""

    @classmethod
    def setUpClass(cls):
        cls.fake = Fake.shared("--storage", storage.url)

    def setUp(self):
        super().setUp()
        options = {"host": self.fake.url.removeprefix("http://"), "url_scheme": "http",
                   "credentials": self.fake.credentials()}
        self.clusters = dataproc_v1.ClusterControllerClient(transport=ClusterControllerRestTransport(**options))
        self.jobs = dataproc_v1.JobControllerClient(transport=JobControllerRestTransport(**options))
        self.batches = dataproc_v1.BatchControllerClient(transport=BatchControllerRestTransport(**options))
        self.bucket = f"b-{self.project}"
        storage.make_bucket(self.bucket)

    def whole(self, **more):
        """The parts of most requests."""
        return {"project_id": self.project, "region": REGION, **more}

    def body(self, name="one", **config):
        """A cluster as a request describes it."""
        group = {"num_instances": 1, "machine_type_uri": "custom-1-4096"}
        return {"project_id": self.project, "cluster_name": name, "labels": {"oxidag-dag": "d"}, "config": {
            "config_bucket": self.bucket, "master_config": group, "worker_config": {**group, "num_instances": 2},
            "software_config": {"image_version": "2.1"}, "lifecycle_config": {"idle_delete_ttl": {"seconds": 3600}},
            **config}}

    def create(self, name="one", **config):
        """Begins to make a cluster."""
        return self.clusters.create_cluster(self.whole(cluster=self.body(name, **config)), **ONCE)

    def state(self, name="one"):
        """A cluster's state."""
        return self.clusters.get_cluster(self.whole(cluster_name=name)).status.state

    def submit(self, script="print('hello')", job_id="j", **more):
        """Submits a PySpark job."""
        storage.put(self.bucket, f"scripts/{job_id}.py", script)
        python = {"main_python_file_uri": f"gs://{self.bucket}/scripts/{job_id}.py", **more}
        job = {"reference": {"job_id": job_id}, "placement": {"cluster_name": "one"}, "pyspark_job": python}
        return self.jobs.submit_job(self.whole(job=job), **ONCE)

    def job(self, job_id="j"):
        """A job as it is."""
        return self.jobs.get_job(self.whole(job_id=job_id))

    def ended(self, job_id="j"):
        """A job that has ended."""
        return wait_for(lambda: self.job(job_id).done and self.job(job_id), "the job's end")

    def output(self, uri):
        """What a job has printed."""
        bucket, _, prefix = uri.removeprefix("gs://").partition("/")
        return "".join(storage.get(bucket, name) for name in storage.list(bucket, prefix))


class Clusters(DataprocTest):
    """Clusters and their states."""

    def test_a_cluster_lives_through_its_states(self):
        self.fake.control("settings", project=self.project, hold="operations")
        operation = self.create()
        self.assertEqual((self.state(), operation.done()), (States.CREATING, False))
        self.fake.control("settings", project=self.project, hold=False)
        cluster = operation.result(polling=OFTEN)
        self.assertEqual((cluster.status.state, cluster.config.worker_config.num_instances), (States.RUNNING, 2))
        self.assertTrue(cluster.config.worker_config.machine_type_uri.endswith("/machineTypes/custom-1-4096"))
        self.assertEqual(cluster.config.lifecycle_config.idle_delete_ttl.seconds, 3600)
        self.assertEqual(cluster.labels["oxidag-dag"], "d")
        name = self.whole(cluster_name="one")
        self.assertEqual(self.clusters.stop_cluster(name).result(polling=OFTEN).status.state, States.STOPPED)
        self.assertEqual(self.clusters.start_cluster(name).result(polling=OFTEN).status.state, States.RUNNING)
        self.clusters.delete_cluster(name).result(polling=OFTEN)
        with self.assertRaises(exceptions.NotFound):
            self.state()
        record = self.fake.ledger(self.project)["clusters"]["one"]
        self.assertEqual((record["state"], record["made"]), ("DELETED", 1))

    def test_a_second_cluster_of_the_name_is_refused(self):
        self.create().result(polling=OFTEN)
        with self.assertRaises(exceptions.Conflict):
            self.create()

    def test_the_same_request_is_carried_out_once(self):
        request = self.whole(cluster=self.body(), request_id="00000000-0000-0000-0000-000000000001")
        first, second = (self.clusters.create_cluster(request, **ONCE) for _ in range(2))
        self.assertEqual(first.operation.name, second.operation.name)

    def test_a_cluster_can_be_deleted_with_the_same_request_twice(self):
        self.create().result(polling=OFTEN)
        request = self.whole(cluster_name="one", request_id="00000000-0000-0000-0000-000000000002")
        operation = self.clusters.delete_cluster(request)
        operation.result(polling=OFTEN)
        self.assertEqual(self.clusters.delete_cluster(request).operation.name, operation.operation.name)

    def test_an_operation_can_be_cancelled(self):
        self.fake.control("settings", project=self.project, hold=True)
        name = self.create().operation.name
        self.fake.session().post(f"{self.fake.url}/v1/{name}:cancel", json={}).raise_for_status()
        operation = wait_for(lambda: (found := self.fake.session().get(f"{self.fake.url}/v1/{name}").json())["done"] and
                             found, "the operation's end")
        self.assertEqual((operation["error"]["code"], self.state()), (1, States.ERROR))

    def test_scaling_takes_a_mask(self):
        self.create().result(polling=OFTEN)
        change = {"config": {"worker_config": {"num_instances": 4}}}
        mask = {"paths": ["config.worker_config.num_instances"]}
        request = self.whole(cluster_name="one", cluster=change, update_mask=mask)
        cluster = self.clusters.update_cluster(request).result(polling=OFTEN)
        self.assertEqual(cluster.config.worker_config.num_instances, 4)
        request["update_mask"] = {"paths": ["config.master_config.num_instances"]}
        with self.assertRaises(exceptions.BadRequest):
            self.clusters.update_cluster(request)

    def test_what_does_not_fit_the_state_is_refused(self):
        self.create().result(polling=OFTEN)
        with self.assertRaises(exceptions.BadRequest):
            self.clusters.start_cluster(self.whole(cluster_name="one"))
        with self.assertRaises(exceptions.NotFound):
            self.clusters.stop_cluster(self.whole(cluster_name="two"))

    def test_an_operation_can_end_in_an_error(self):
        self.fake.fault(self.project, CREATE, "operation_error", message="no quota")
        with self.assertRaises(exceptions.GoogleAPICallError) as caught:
            self.create().result(polling=OFTEN)
        self.assertIn("no quota", str(caught.exception))
        self.assertEqual(self.state(), States.ERROR)
        uri = self.clusters.diagnose_cluster(self.whole(cluster_name="one")).result(polling=OFTEN).output_uri
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        self.assertEqual(storage.list(bucket, name), [name])
        self.assertEqual(self.state(), States.ERROR)

    def test_a_cluster_of_one_worker_is_refused(self):
        with self.assertRaises(exceptions.BadRequest):
            self.create(worker_config={"num_instances": 1})


class Jobs(DataprocTest):
    """Jobs on a cluster."""

    def setUp(self):
        super().setUp()
        self.create().result(polling=OFTEN)

    def test_a_script_runs_and_what_it_prints_is_kept(self):
        script = "import sys, helper\nprint(helper.word, sys.argv[1:])\nprint('x' * 10000)"
        storage.put(self.bucket, "helper.py", "word = 'hi'")
        job = self.submit(script, args=["--params", "{}"], python_file_uris=[f"gs://{self.bucket}/helper.py"])
        self.assertEqual(job.status.state, JobStates.PENDING)
        job = self.ended()
        self.assertEqual(job.status.state, JobStates.DONE)
        self.assertEqual(self.output(job.driver_output_resource_uri), f"hi ['--params', '{{}}']\n{'x' * 10000}\n")
        self.assertIn(JobStates.RUNNING, [status.state for status in job.status_history])

    def test_output_is_there_while_the_job_runs(self):
        self.fake.control("settings", project=self.project, hold="jobs")
        uri = self.submit("print('half')").driver_output_resource_uri
        wait_for(lambda: self.output(uri) == "half\n", "the output")
        self.assertEqual(self.job().status.state, JobStates.RUNNING)

    def test_a_script_that_fails_fails_the_job(self):
        self.submit("raise ValueError('no such column')")
        job = self.ended()
        self.assertEqual(job.status.state, JobStates.ERROR)
        self.assertIn("ValueError: no such column", job.status.details)
        self.assertIn("Traceback", self.output(job.driver_output_resource_uri))

    def test_a_missing_script_fails_the_job(self):
        job = {"reference": {"job_id": "j"}, "placement": {"cluster_name": "one"},
               "pyspark_job": {"main_python_file_uri": f"gs://{self.bucket}/none.py"}}
        self.jobs.submit_job(self.whole(job=job))
        self.assertIn("none.py", self.ended().status.details)

    def test_a_second_job_of_the_id_is_refused(self):
        self.submit()
        with self.assertRaises(exceptions.Conflict):
            self.submit()
        self.assertEqual(self.fake.ledger(self.project)["jobs"]["j"]["refused"], 1)

    def test_a_job_needs_a_running_cluster(self):
        self.clusters.stop_cluster(self.whole(cluster_name="one")).result(polling=OFTEN)
        with self.assertRaises(exceptions.BadRequest):
            self.submit()
        self.clusters.delete_cluster(self.whole(cluster_name="one")).result(polling=OFTEN)
        with self.assertRaises(exceptions.NotFound):
            self.submit()

    def test_a_cancelled_job_is_killed(self):
        script = "import os, time\nprint(os.getpid())\nwhile True: time.sleep(1)"
        uri = self.submit(script).driver_output_resource_uri
        process = int(wait_for(lambda: self.output(uri), "the script's own id"))
        self.assertEqual(self.jobs.cancel_job(self.whole(job_id="j")).status.state, JobStates.CANCEL_PENDING)
        self.assertEqual(self.ended().status.state, JobStates.CANCELLED)
        wait_for(lambda: not alive(process), "the script to be gone")

    def test_a_deleted_cluster_takes_its_jobs_along(self):
        self.fake.control("settings", project=self.project, hold="jobs")
        self.submit()
        wait_for(lambda: self.job().status.state == JobStates.RUNNING, "the job to run")
        self.clusters.delete_cluster(self.whole(cluster_name="one")).result(polling=OFTEN)
        self.assertIn("deleted", self.ended().status.details)

    def test_sql_and_jars_must_exist(self):
        storage.put(self.bucket, "q.sql", "select 1")
        for name, kind in (("q.sql", "spark_sql_job"), ("none.sql", "spark_sql_job"), ("none.jar", "spark_job")):
            with self.subTest(name):
                key = "query_file_uri" if kind == "spark_sql_job" else "main_jar_file_uri"
                job_id = name.replace(".", "-")
                self.jobs.submit_job(self.whole(job={
                    "reference": {"job_id": job_id}, "placement": {"cluster_name": "one"},
                    kind: {key: f"gs://{self.bucket}/{name}"}}))
                state = JobStates.DONE if name == "q.sql" else JobStates.ERROR
                self.assertEqual(self.ended(job_id).status.state, state)

    def test_a_job_as_an_operation_ends_with_it(self):
        storage.put(self.bucket, "a.py", "print(1)")
        job = {"reference": {"job_id": "j"}, "placement": {"cluster_name": "one"},
               "pyspark_job": {"main_python_file_uri": f"gs://{self.bucket}/a.py"}}
        done = self.jobs.submit_job_as_operation(self.whole(job=job)).result(polling=OFTEN)
        self.assertEqual(done.status.state, JobStates.DONE)

    def test_faults_reach_jobs(self):
        self.fake.fault(self.project, SUBMIT, "503")
        with self.assertRaises(exceptions.ServiceUnavailable):
            self.submit()
        self.fake.fault(self.project, SUBMIT, "job_error", message="the driver died")
        self.submit()
        self.assertEqual((self.ended().status.state, self.job().status.details), (JobStates.ERROR, "the driver died"))

    def test_a_script_can_write_to_bigquery(self):
        self.fake.bigquery(self.project).create_dataset("d")
        script = """
            import json, os, urllib.request
            body = {"project": os.environ["FAKE_GOOGLE_PROJECT"], "dataset": "d", "table": "t", "mode": "overwrite",
                    "schema": [{"name": "id", "type": "INT64"}], "rows": [{"id": 1}, {"id": 2}]}
            url = os.environ["FAKE_GOOGLE_URL"] + "/_fake/bigquery/load"
            urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()))"""
        self.submit("\n".join(line.strip() if not line.strip().startswith('"') else line
                              for line in script.splitlines()))
        self.assertEqual(self.ended().status.state, JobStates.DONE)
        rows = self.fake.bigquery(self.project).query("select sum(id) as s from d.t").result()
        self.assertEqual([row.s for row in rows], [3])


class Batches(DataprocTest):
    """Serverless batches."""

    parent = property(lambda self: f"projects/{self.project}/locations/{REGION}")

    def create_batch(self, script="print('hello')", batch_id="batch-1"):
        """Begins a batch."""
        storage.put(self.bucket, "main.py", script)
        batch = {"pyspark_batch": {"main_python_file_uri": f"gs://{self.bucket}/main.py"},
                 "environment_config": {"execution_config": {"staging_bucket": self.bucket}}}
        return self.batches.create_batch({"parent": self.parent, "batch": batch, "batch_id": batch_id}, **ONCE)

    def get(self):
        """The batch as it is."""
        return self.batches.get_batch({"name": f"{self.parent}/batches/batch-1"})

    def test_a_batch_runs(self):
        batch = self.create_batch().result(polling=OFTEN)
        self.assertEqual(batch.state, BatchStates.SUCCEEDED)
        self.assertEqual(self.output(batch.runtime_info.output_uri), "hello\n")
        with self.assertRaises(exceptions.Conflict):
            self.create_batch()
        self.batches.delete_batch({"name": batch.name})
        with self.assertRaises(exceptions.NotFound):
            self.get()

    def test_a_batch_that_fails_says_why(self):
        with self.assertRaises(exceptions.GoogleAPICallError):
            self.create_batch("raise SystemExit('wrong')").result(polling=OFTEN)
        self.assertEqual(self.get().state, BatchStates.FAILED)
        self.assertIn("wrong", self.get().state_message)

    def test_a_batch_is_cancelled_by_its_operation(self):
        operation = self.create_batch("import time\nwhile True: time.sleep(1)")
        wait_for(lambda: self.get().state == BatchStates.RUNNING, "the batch to run")
        with self.assertRaises(exceptions.BadRequest):
            self.batches.delete_batch({"name": f"{self.parent}/batches/batch-1"})
        # Google's client fails to send this request over HTTP.
        url = f"{self.fake.url}/v1/{operation.operation.name}:cancel"
        self.fake.session().post(url, json={}).raise_for_status()
        wait_for(lambda: self.get().state == BatchStates.CANCELLED, "the batch's end")


class End(DataprocTest):
    """What was started ends with the fake."""

    @classmethod
    def setUpClass(cls):
        # A fake that is killed leaves its folder behind.
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        with mock.patch.dict(os.environ, TMPDIR=folder.name):
            cls.fake = Fake("--storage", storage.url)

    def test_a_script_does_not_outlive_a_killed_fake(self):
        self.create().result(polling=OFTEN)
        uri = self.submit("import os, time\nprint(os.getpid())\nwhile True: time.sleep(1)").driver_output_resource_uri
        process = int(wait_for(lambda: self.output(uri), "the script's own id"))
        self.fake.process.kill()
        self.fake.process.wait()
        wait_for(lambda: not alive(process), "the script to be gone")
        self.fake.process.stdin.close()
        self.fake.process.stdout.close()

    def no_problems(self):
        """The fake is gone."""


def alive(process):
    """Whether a process exists and has not ended."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    unittest.main()
