"""A stand-in for a server of Livy: the REST interface for batches, for the tests of the engine `spark`.

It checks every request against what Livy's documentation allows and answers 400 to the rest. A batch's script is run
for real, as a Python program: `gs://` files come from the storage server that `--storage` names. Below `/_fake/` a
test says what shall go wrong, and sees what was asked.

    python livy.py --port PORT [--storage URL] [--user NAME:PASSWORD]
"""

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TEXTS = ("file", "proxyUser", "className", "driverMemory", "executorMemory", "queue", "name")
NUMBERS = ("driverCores", "executorCores", "numExecutors")
LISTS = ("args", "jars", "pyFiles", "files", "archives")
ENDS = ("success", "dead", "killed", "error")
# Livy keeps so many lines of each stream.
KEPT = 200


class Refused(Exception):
    """A request that Livy does not take."""


def mistake(body):
    """What is wrong with the request for a batch, or None."""
    for key, value in body.items():
        texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
        named = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
        right = {**dict.fromkeys(TEXTS, isinstance(value, str)), **dict.fromkeys(NUMBERS, isinstance(value, int)),
                 **dict.fromkeys(LISTS, texts), "conf": named}
        if key not in right:
            return f"Unrecognized field \"{key}\""
        if not right[key]:
            return f"the type of \"{key}\" is wrong"
    return None if body.get("file") else "requirement failed: File is required."


class Batch:
    """One batch."""

    def __init__(self, livy, number, request):
        self.livy, self.id, self.request = livy, number, request
        self.state = "starting"
        self.lines = {"stdout": [], "stderr": []}
        self.process = None
        self.lock = threading.Lock()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        """The batch's life."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                status = self.execute(Path(folder))
        except OSError as error:
            self.lines["stderr"].append(str(error))
            status = 1
        while self.livy.hold and self.state == "running":
            time.sleep(0.01)
        with self.lock:
            if self.state != "killed":
                self.state = "success" if status == 0 else "dead"

    def execute(self, folder):
        """Runs the script; returns its exit status."""
        script = folder / "script.py"
        script.write_bytes(self.livy.fetch(self.request["file"]))
        with self.lock:
            if self.state == "killed":
                return 1
            self.process = subprocess.Popen([sys.executable, "-u", script, *self.request.get("args", [])],
                                            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE, text=True)
            self.state = "running"
        readers = [threading.Thread(target=self.read, args=(name, getattr(self.process, name)))
                   for name in self.lines]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        return self.process.wait()

    def read(self, name, stream):
        """Keeps what a stream says."""
        for line in stream:
            self.lines[name] = [*self.lines[name], line.rstrip("\n")][-KEPT:]

    def kill(self):
        """Ends it."""
        with self.lock:
            if self.state not in ENDS:
                self.state = "killed"
            if self.process is not None:
                self.process.kill()

    def log(self):
        """Its log as Livy tells it."""
        return ["stdout: ", *self.lines["stdout"], "\nstderr: ", *self.lines["stderr"], "\nYARN Diagnostics: "]

    def show(self):
        """The batch as Livy shows it."""
        return {"id": self.id, "name": self.request.get("name"), "owner": None, "proxyUser": None,
                "state": self.state, "appId": f"application_1_{self.id:04}",
                "appInfo": {"driverLogUrl": None, "sparkUiUrl": f"http://yarn/{self.id}"}, "log": self.log()[-10:]}


class Livy:
    """The server's state."""

    def __init__(self, storage, user):
        self.storage, self.user = storage, user
        self.batches, self.requests, self.faults = {}, [], []
        self.hold = False
        self.made = []
        self.lock = threading.RLock()

    def fetch(self, uri):
        """A script's text."""
        if not uri.startswith("gs://"):
            raise OSError(f"No FileSystem for {uri}")
        bucket, name = uri.removeprefix("gs://").split("/", 1)
        place = f"{urllib.parse.quote(bucket)}/o/{urllib.parse.quote(name, safe='')}"
        with urllib.request.urlopen(f"{self.storage}/storage/v1/b/{place}?alt=media") as answer:
            return answer.read()

    def fault(self, method):
        """The fault that the next request of this method meets, if any."""
        with self.lock:
            for fault in self.faults:
                if fault["method"] == method and fault["times"] > 0:
                    fault["times"] -= 1
                    return fault["fault"]
        return None

    def create(self, body):
        """POST /batches."""
        wrong = mistake(body)
        if wrong:
            raise Refused(wrong)
        with self.lock:
            number, name = len(self.made), body.get("name")
            if name and any(batch.request.get("name") == name for batch in self.batches.values()):
                raise Refused(f"Rejected, Reason: Duplicate session name: Some({name}) for session {number}")
            self.made.append(name)
            batch = self.batches[number] = Batch(self, number, body)
        return 201, batch.show()

    def list(self, query):
        """GET /batches."""
        start, size = int(query.get("from", 0)), int(query.get("size", 100))
        batches = list(self.batches.values())
        return 200, {"from": start, "total": len(batches),
                     "sessions": [batch.show() for batch in batches[start:start + size]]}

    def one(self, method, number, what, query):
        """What concerns one batch."""
        batch = self.batches.get(number)
        if batch is None:
            return 404, {"msg": f"Session '{number}' not found."}
        if method == "DELETE" and not what:
            batch.kill()
            del self.batches[number]
            return 200, {"msg": "deleted"}
        if method != "GET":
            raise Refused(f"{method} is not for a batch")
        if what == "/log":
            log = batch.log()
            start = int(query.get("from", max(0, len(log) - int(query.get("size", 100)))))
            return 200, {"id": number, "from": start, "total": len(log),
                         "log": log[start:start + int(query.get("size", 100))]}
        return 200, {"id": number, "state": batch.state} if what == "/state" else batch.show()

    def ledger(self):
        """What was asked, and what there is."""
        return {"requests": self.requests, "made": self.made,
                "batches": {batch.request.get("name"): batch.state for batch in self.batches.values()}}

    def close(self):
        """Ends what still runs."""
        for batch in list(self.batches.values()):
            batch.kill()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    livy = None
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        """Any request."""
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if url.path.startswith("/_fake/"):
            return self.answer(200, self.control(url.path, json.loads(text or b"{}")))
        place = re.sub(r"\d+", "ID", url.path)
        fault = self.livy.fault(f"{self.command} {place}")
        status, answer = 0, None
        if fault not in ("reset", "429", "503"):
            try:
                status, answer = self.judge(url.path, query, text)
            except (Refused, ValueError) as refused:
                status, answer = 400, {"msg": str(refused)}
        elif fault != "reset":
            status, answer = int(fault), {"msg": "come back later"}
        lost = fault in ("reset", "lost_reply")
        self.livy.requests.append({"method": f"{self.command} {place}", "body": text.decode(),
                                   "status": 0 if lost else status})
        if lost:
            self.close_connection = True
            return self.connection.close()
        return self.answer(status, answer)

    def judge(self, path, query, text):
        """What Livy answers."""
        expected = self.livy.user and "Basic " + base64.b64encode(self.livy.user.encode()).decode()
        if expected and self.headers.get("Authorization") != expected:
            return 401, {"msg": "Authentication required"}
        if self.command != "GET" and not self.headers.get("X-Requested-By"):
            raise Refused("Missing Required Header for CSRF protection.")
        if set(query) - {"from", "size"}:
            raise Refused(f"unknown parameters {sorted(query)}")
        if path == "/batches":
            return self.livy.create(json.loads(text)) if self.command == "POST" else self.livy.list(query)
        found = re.fullmatch(r"/batches/(\d+)(/state|/log)?", path)
        if not found:
            return 404, {"msg": f"no such place: {path}"}
        return self.livy.one(self.command, int(found[1]), found[2], query)

    def control(self, path, body):
        """A test's own requests."""
        if path == "/_fake/faults":
            self.livy.faults.append({"times": 1, **body})
        elif path == "/_fake/settings":
            self.livy.hold = body["hold"]
        elif path == "/_fake/mend":
            self.livy.faults.clear()
        return self.livy.ledger()

    def answer(self, status, value):
        """Answers in JSON."""
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = do_PUT = handle_any  # noqa: N815

    def log_message(self, *_):
        """Says nothing of each request."""


def main():
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--storage")
    parser.add_argument("--user")
    options = parser.parse_args()
    Handler.livy = Livy(options.storage, options.user)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    try:
        server.serve_forever()
    finally:
        Handler.livy.close()


if __name__ == "__main__":
    main()
