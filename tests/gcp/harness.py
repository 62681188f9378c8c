"""What the fake's own tests share: a fake and a storage server of their own, and Google's clients pointed at them."""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import requests
from google.api_core.client_options import ClientOptions
from google.auth.transport.requests import AuthorizedSession
from google.cloud import bigquery
from google.oauth2 import service_account

HERE = Path(__file__).parent
DEADLINE = 30


class Fake:
    """A running fake."""

    running = {}

    @classmethod
    def shared(cls, *arguments):
        """One for all tests that want it started alike."""
        if arguments not in cls.running:
            cls.running[arguments] = cls(*arguments)
            atexit.register(cls.running[arguments].stop)
        return cls.running[arguments]

    def __init__(self, *arguments):
        self.process = subprocess.Popen([sys.executable, "-m", "fake_google", *arguments], cwd=HERE,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        hello = json.loads(self.process.stdout.readline())
        self.url, self.key_file = hello["url"], hello["key_file"]

    def stop(self):
        """Ends it the way a test's end does, by closing its input."""
        self.process.stdin.close()
        self.process.wait(DEADLINE)
        self.process.stdout.close()

    def credentials(self):
        """The service account's key, as Google's library reads it."""
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        return service_account.Credentials.from_service_account_file(self.key_file, scopes=scopes)

    def session(self):
        """Requests with a valid token."""
        return AuthorizedSession(self.credentials())

    def bigquery(self, project, **options):
        """Google's BigQuery client."""
        return bigquery.Client(project, self.credentials(), client_options=ClientOptions(api_endpoint=self.url),
                               **options)

    def control(self, path, **body):
        """One request to `/_fake/`."""
        answer = requests.post(f"{self.url}/_fake/{path}", json=body, timeout=DEADLINE)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, project, method, fault, **more):
        """Tells the fake what shall go wrong."""
        self.control("faults", project=project, method=method, fault=fault, **more)

    def ledger(self, project):
        """What the fake has been asked, and has."""
        return requests.get(f"{self.url}/_fake/ledger", params={"project": project}, timeout=DEADLINE).json()


class Storage:
    """A running `gcp-storage-emulator`."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="fake-google-storage-")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        program = Path(sys.executable).with_name("gcp-storage-emulator")
        self.process = subprocess.Popen(
            [program, "-d", self.folder, "start", "--host", "127.0.0.1", "--port", str(port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "STORAGE_EMULATOR_HOST": self.url})
        wait_for(lambda: answers(self.url), "the storage server to answer")

    def stop(self):
        """Ends it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        shutil.rmtree(self.folder)

    def make_bucket(self, name):
        """Makes a bucket."""
        requests.post(f"{self.url}/storage/v1/b", json={"name": name}, timeout=DEADLINE).raise_for_status()

    def put(self, bucket, name, text):
        """Stores an object."""
        requests.post(f"{self.url}/upload/storage/v1/b/{bucket}/o", params={"uploadType": "media", "name": name},
                      data=text.encode(), timeout=DEADLINE).raise_for_status()

    def get(self, bucket, name):
        """An object's text."""
        path = requests.utils.quote(name, safe="")
        answer = requests.get(f"{self.url}/storage/v1/b/{bucket}/o/{path}", params={"alt": "media"}, timeout=DEADLINE)
        answer.raise_for_status()
        return answer.text

    def list(self, bucket, prefix):
        """The names of objects."""
        answer = requests.get(f"{self.url}/storage/v1/b/{bucket}/o", params={"prefix": prefix}, timeout=DEADLINE)
        return sorted(item["name"] for item in answer.json().get("items", []))


class FakeTest(unittest.TestCase):
    """Tests that share one fake, each with a project of its own."""

    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.fake = Fake.shared(*cls.arguments)

    def setUp(self):
        self.project = self.id().rpartition(".")[2].replace("_", "-")[:60]
        self.addCleanup(self.no_problems)

    def no_problems(self):
        """The fake must not have answered what Google never would."""
        self.assertEqual(self.fake.ledger(self.project)["problems"], [])


def free_port():
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def answers(url):
    """Whether something answers there."""
    try:
        requests.get(url, timeout=DEADLINE)
        return True
    except requests.ConnectionError:
        return False


def wait_for(condition, what):
    """Waits for a condition, and returns what it returned."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"waited {DEADLINE} s for {what}")
