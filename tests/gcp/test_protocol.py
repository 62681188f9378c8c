"""What is common to all services: credentials, what a request may hold, how values travel, and the fake's own end."""

import json
import os
import time
import unittest
from unittest import mock

import google.auth
import jwt
import proto
import requests
from google.auth import impersonated_credentials
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import dataproc_v1

from fake_google.discovery import Discovery
from fake_google.enums import numbers
from fake_google.schema import SchemaError
from harness import Fake, FakeTest, wait_for

NUMBERED = {"$alt": "json;enum-encoding=int"}
SQL = {"query": "select 1", "useLegacySql": False}


class Raw(FakeTest):
    """Tests that send requests of their own."""

    def setUp(self):
        super().setUp()
        self.session = self.fake.session()
        self.addCleanup(self.session.close)
        self.jobs = f"{self.fake.url}/bigquery/v2/projects/{self.project}/jobs"
        self.dataproc = f"{self.fake.url}/v1/projects/{self.project}/regions/r"

    def refused(self, url, body=None, **params):
        """The message of a request that is refused with 400."""
        answer = self.session.request("GET" if body is None else "POST", url, json=body, params=params)
        self.assertEqual(answer.status_code, 400, answer.text)
        return answer.json()["error"]["message"]


class Credentials(Raw):
    """Who is let in."""

    def status(self, token):
        """The answer to a request with a token."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = requests.get(self.jobs, headers=headers)
        if answer.status_code == 401:
            self.assertEqual(answer.json()["error"]["status"], "UNAUTHENTICATED")
        return answer.status_code

    def signed(self, key=None, **claims):
        """A token that an account signs for itself, as Google's Rust client does."""
        with open(self.fake.key_file, encoding="utf-8") as file:
            account = json.load(file)
        now = int(time.time())
        base = {"iss": account["client_email"], "sub": account["client_email"], "iat": now, "exp": now + 3600,
                "scope": "https://www.googleapis.com/auth/cloud-platform"}
        headers = {"kid": account["private_key_id"]}
        return jwt.encode({**base, **claims}, key or account["private_key"], "RS256", headers)

    def test_a_token_of_the_key_is_taken(self):
        self.assertEqual(self.status(self.signed()), 200)
        self.assertEqual(self.status(self.signed(scope=None, aud="https://bigquery.googleapis.com/")), 200)

    def test_anything_else_is_not(self):
        other = Fake()
        self.addCleanup(other.stop)
        with open(other.key_file, encoding="utf-8") as file:
            wrong = json.load(file)["private_key"]
        tokens = {"none": None, "nonsense": "nonsense", "empty": "", "another key": self.signed(wrong),
                  "old": self.signed(exp=int(time.time()) - 600), "another account": self.signed(iss="a@b.c"),
                  "no scope": self.signed(scope=None)}
        for name, token in tokens.items():
            with self.subTest(name):
                self.assertEqual(self.status(token), 401)

    def test_the_metadata_server_gives_tokens(self):
        host = self.fake.url.removeprefix("http://")
        without = {key: value for key, value in os.environ.items() if key != "GOOGLE_APPLICATION_CREDENTIALS"}
        with mock.patch.dict(os.environ, {**without, "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host,
                                          "GCE_METADATA_ROOT": host, "CLOUDSDK_CONFIG": "/nonexistent"}, clear=True):
            with mock.patch.multiple("google.auth.compute_engine._metadata", _GCE_METADATA_HOST=host,
                                     _GCE_DEFAULT_MDS_IP=host):
                credentials, project = google.auth.default()
                self.assertEqual(project, "fake-project")
                self.assertEqual(AuthorizedSession(credentials).get(self.jobs).status_code, 200)
        root = f"{self.fake.url}/computeMetadata/v1/instance/service-accounts/default"
        self.assertEqual(requests.get(f"{root}/token").status_code, 403)
        token = requests.get(f"{root}/identity", {"audience": "https://x"}, headers={"Metadata-Flavor": "Google"}).text
        certificate, = requests.get(f"{self.fake.url}/_fake/certs").json().values()
        self.assertEqual(jwt.decode(token, certificate, ["RS256"], audience="https://x")["iss"],
                         "https://accounts.google.com")

    def test_another_account_can_be_impersonated(self):
        other = f"other@{self.project}.iam.gserviceaccount.com"
        with mock.patch("google.auth.iam._IAM_ENDPOINT",
                        self.fake.url + "/v1/projects/-/serviceAccounts/{}:generateAccessToken"):
            credentials = impersonated_credentials.Credentials(
                self.fake.credentials(), other, ["https://www.googleapis.com/auth/cloud-platform"])
            credentials.refresh(Request())
        self.assertEqual(AuthorizedSession(credentials).get(self.jobs).status_code, 200)
        self.assertEqual(self.fake.ledger(self.project)["requests"][-1]["account"], other)

    def test_the_ledger_holds_no_token(self):
        token = self.signed()
        self.status(token)
        self.assertNotIn(token, json.dumps(self.fake.ledger(self.project)))


class Requests(Raw):
    """What a request may hold."""

    def test_unknown_fields_and_wrong_types_are_refused_by_name(self):
        for body, words in (
                ({"configuration": {"query": {**SQL, "qurey": "x"}}}, ('"qurey"', "configuration.query")),
                ({"configuration": {"query": {"query": 1}}}, ("configuration.query.query", "text")),
                ({"configuration": {"query": SQL, "labels": ["x"]}}, ("configuration.labels", "object")),
                ({"configuration": {"query": {**SQL, "maximumBytesBilled": "many"}}}, ("maximumBytesBilled", "int64")),
                ({"configuration": {"query": {**SQL, "useLegacySql": "no"}}}, ("useLegacySql", "true or false")),
                ({}, ("missing",))):
            with self.subTest(words):
                message = self.refused(self.jobs, body)
                for word in words:
                    self.assertIn(word, message)

    def test_unknown_parameters_and_values_are_refused(self):
        self.assertIn('"maxResult"', self.refused(self.jobs, maxResult=1))
        self.assertIn("projection", self.refused(self.jobs, projection="half"))
        self.assertIn("maxResults", self.refused(self.jobs, maxResults="-1"))
        self.assertIn("jobStateMatcher", self.refused(f"{self.dataproc}/jobs", jobStateMatcher="7"))

    def test_an_unknown_path_is_not_found(self):
        self.assertEqual(self.session.get(f"{self.fake.url}/v1/projects/p/zones/z/clusters").status_code, 404)

    def test_a_method_that_is_not_carried_out_says_so(self):
        self.assertEqual(self.session.get(f"{self.dataproc}/autoscalingPolicies").status_code, 501)

    def test_the_rust_clients_ways_are_taken(self):
        params = {**NUMBERED, "projection": "0", "pageToken": "", "maxResults": "5"}
        self.assertEqual(self.session.get(self.jobs, params=params).status_code, 200)
        answer = self.session.post(f"{self.dataproc}/clusters/none:start", params=NUMBERED, json={
            "projectId": self.project, "region": "r", "clusterName": "none"})
        self.assertEqual(answer.status_code, 404)
        self.assertIn("clusterName", self.refused(f"{self.dataproc}/clusters/none:start", {"clusterName": "other"}))

    def test_enums_travel_as_numbers_where_asked(self):
        body = {"projectId": self.project, "clusterName": "one",
                "config": {"workerConfig": {"numInstances": 2, "preemptibility": 3}}}
        self.session.post(f"{self.dataproc}/clusters", json=body, params=NUMBERED).raise_for_status()
        one = f"{self.dataproc}/clusters/one"
        cluster = wait_for(lambda: (found := self.session.get(one, params=NUMBERED).json())["status"]["state"] == 2 and
                           found, "the cluster")
        self.assertEqual(cluster["config"]["workerConfig"]["preemptibility"], 3)
        self.assertEqual(self.session.get(one).json()["config"]["workerConfig"]["preemptibility"], "SPOT")
        body["config"]["workerConfig"]["preemptibility"] = 99
        self.assertIn("preemptibility", self.refused(f"{self.dataproc}/clusters", body))

    def test_unknown_faults_and_settings_are_refused(self):
        for path, body in (("faults", {"method": "bigquery.jobs.inset", "fault": "503"}),
                           ("faults", {"method": "bigquery.jobs.insert", "fault": "504"}),
                           ("faults", {"method": "bigquery.jobs.get", "fault": "job_error"}),
                           ("settings", {"job_second": 1}), ("settings", {"hold": "all"})):
            with self.subTest(body):
                answer = requests.post(f"{self.fake.url}/_fake/{path}", json={"project": self.project, **body})
                self.assertEqual(answer.status_code, 400)


class Descriptions(unittest.TestCase):
    """The checks themselves, without a server."""

    @classmethod
    def setUpClass(cls):
        cls.discovery = Discovery()

    def test_an_answer_that_google_would_not_give_is_noticed(self):
        method = self.discovery.methods["bigquery.jobs.get"]
        for answer in ({"stats": {}}, {"status": {"state": 2}}, {"statistics": {"creationTime": 5}}, {"id": None}):
            with self.subTest(answer), self.assertRaises(SchemaError):
                method.check_answer(answer, False)
        with self.assertRaises(SchemaError):
            self.discovery.methods["dataproc.projects.regions.clusters.get"].check_answer(
                {"status": {"state": "SLEEPING"}}, False)

    def test_enum_numbers_are_those_of_googles_package(self):
        api = next(api for api in self.discovery.apis if api.name == "dataproc")
        compared = 0
        for name, schema in api.schemas.items():
            message = getattr(dataproc_v1, name, None)
            if not isinstance(message, type) or not issubclass(message, proto.Message):
                continue
            for key, part in schema.get("properties", {}).items():
                values = part.get("enum") or part.get("items", {}).get("enum")
                field = next((field for field in message.meta.fields.values() if field.json_name == key or
                              field.name == snake(key)), None)
                if not values or field is None or not field.enum:
                    continue
                real = {value.name: value.value for value in field.enum}
                ours = {value: number for value, number in numbers("dataproc", f"{name}.{key}", values).items()
                        if value in real}
                self.assertEqual(ours, {value: real[value] for value in ours}, f"{name}.{key}")
                compared += 1
        self.assertGreater(compared, 15)


class End(unittest.TestCase):
    """The fake ends when it should."""

    def test_it_ends_when_its_input_is_closed(self):
        fake = Fake()
        fake.stop()
        self.assertEqual(fake.process.returncode, 0)
        self.assertFalse(os.path.exists(fake.key_file))


class Crowd(FakeTest):
    """Many jobs at once."""

    def test_a_thousand_jobs_wait_without_a_thread_each(self):
        self.fake.control("settings", project=self.project, hold=True)
        session = self.fake.session()
        self.addCleanup(session.close)
        url = f"{self.fake.url}/bigquery/v2/projects/{self.project}/jobs"
        for number in range(1000):
            session.post(url, json={"jobReference": {"jobId": f"j{number}"}, "configuration": {"query": SQL}}
                         ).raise_for_status()
        with open(f"/proc/{self.fake.process.pid}/status", encoding="utf-8") as file:
            threads = int(next(line for line in file if line.startswith("Threads:")).split()[1])
        self.assertLess(threads, 20)
        self.fake.control("settings", project=self.project, hold=False)
        wait_for(lambda: all(job["state"] == "DONE" for job in self.fake.ledger(self.project)["jobs"].values()),
                 "the jobs' end")


def snake(name):
    """A JSON name as Python's client spells it."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


if __name__ == "__main__":
    unittest.main()
