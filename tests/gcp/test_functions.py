"""Cloud Functions, driven by the client that Google's discovery document makes."""

import io
import unittest
import zipfile

import requests
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from harness import FakeTest, wait_for

SOURCE = """
import os
import flask

def main(request):
    body = request.get_json(silent=True) or {}
    if body.get("fail"):
        return "it went wrong", 500
    return flask.jsonify({"got": body, "word": os.environ.get("WORD"), "path": request.path})
"""


class FunctionsTest(FakeTest):
    """Tests with a client."""

    def setUp(self):
        super().setUp()
        self.client = build("cloudfunctions", "v2", credentials=self.fake.credentials(), static_discovery=True,
                            client_options={"api_endpoint": self.fake.url})
        self.addCleanup(self.client.close)
        self.functions = self.client.projects().locations().functions()
        self.parent = f"projects/{self.project}/locations/us-central1"
        self.name = f"{self.parent}/functions/one"

    def upload(self, source=SOURCE):
        """Uploads source, and returns where it is."""
        target = self.functions.generateUploadUrl(parent=self.parent, body={}).execute()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("main.py", source)
        requests.put(target["uploadUrl"], data=buffer.getvalue(),
                     headers={"Content-Type": "application/zip"}).raise_for_status()
        return target["storageSource"]

    def body(self, source=SOURCE, **service):
        """A function as a request describes it."""
        return {"buildConfig": {"runtime": "python311", "entryPoint": "main",
                                "source": {"storageSource": self.upload(source)}},
                "serviceConfig": service, "labels": {"oxidag-dag": "d"}}

    def done(self, operation):
        """An operation that has ended."""
        get = self.client.projects().locations().operations().get
        return wait_for(lambda: (one := get(name=operation["name"]).execute())["done"] and one, "the operation")

    def create(self, source=SOURCE, **service):
        """Makes a function, and returns the ended operation."""
        body = self.body(source, **service)
        return self.done(self.functions.create(parent=self.parent, functionId="one", body=body).execute())

    def call(self, url, token, **body):
        """Calls a function."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.post(url, json=body, headers=headers, timeout=30)

    def token(self, audience):
        """An identity token of the service account."""
        credentials = service_account.IDTokenCredentials.from_service_account_file(
            self.fake.key_file, target_audience=audience)
        credentials.refresh(Request())
        return credentials.token

    def test_a_function_is_deployed_called_changed_and_deleted(self):
        operation = self.create(environmentVariables={"WORD": "first"})
        url = operation["response"]["serviceConfig"]["uri"]
        answer = self.call(url, self.token(url), x=1)
        self.assertEqual(answer.json(), {"got": {"x": 1}, "word": "first", "path": "/"})
        self.assertEqual(self.call(url, self.token(url), fail=True).status_code, 500)
        body = {"serviceConfig": {"environmentVariables": {"WORD": "second"}}}
        patch = self.functions.patch(name=self.name, updateMask="serviceConfig.environmentVariables", body=body)
        self.done(patch.execute())
        self.assertEqual(self.call(f"{url}/below", self.token(url)).json(), {"got": {}, "word": "second",
                                                                               "path": "/below"})
        self.done(self.functions.delete(name=self.name).execute())
        with self.assertRaises(HttpError):
            self.functions.get(name=self.name).execute()
        record = self.fake.ledger(self.project)["functions"]["one"]
        self.assertEqual((record["state"], record["made"]), ("DELETED", 1))

    def test_only_a_token_for_the_function_lets_one_in(self):
        url = self.create()["response"]["serviceConfig"]["uri"]
        self.assertEqual(self.call(url, None).status_code, 403)
        self.assertEqual(self.call(url, "nonsense").status_code, 401)
        self.assertEqual(self.call(url, self.token("https://other.example")).status_code, 401)
        credentials = self.fake.credentials()
        credentials.refresh(Request())
        self.assertEqual(self.call(url, credentials.token).status_code, 401)

    def test_source_that_does_not_start_fails_the_operation(self):
        operation = self.create("import no_such_module\n")
        self.assertIn("No module named 'no_such_module'", operation["error"]["message"])
        self.assertEqual(self.functions.get(name=self.name).execute()["state"], "FAILED")

    def test_calls_meet_faults(self):
        url = self.create()["response"]["serviceConfig"]["uri"]
        for fault, status in (("429", 429), ("503", 503)):
            self.fake.fault(self.project, "functions.call", fault)
            self.assertEqual(self.call(url, self.token(url)).status_code, status)
        for fault in ("reset", "lost_reply"):
            self.fake.fault(self.project, "functions.call", fault)
            with self.assertRaises(requests.ConnectionError):
                self.call(url, self.token(url))
        self.assertEqual(self.call(url, self.token(url)).status_code, 200)
        calls = [entry["status"] for entry in self.fake.ledger(self.project)["requests"]
                 if entry["method"] == "functions.call"]
        self.assertEqual(calls, [429, 503, 0, 0, 200])

    def test_a_second_function_of_the_name_is_refused(self):
        self.create()
        with self.assertRaises(HttpError) as caught:
            self.create()
        self.assertEqual(caught.exception.status_code, 409)

    def test_what_is_no_function_is_refused(self):
        body = self.body()
        del body["buildConfig"]["entryPoint"]
        with self.assertRaises(HttpError) as caught:
            self.functions.create(parent=self.parent, functionId="one", body=body).execute()
        self.assertIn("entry_point", caught.exception.reason)


if __name__ == "__main__":
    unittest.main()
