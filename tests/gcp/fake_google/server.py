"""Takes requests, finds out who calls what, checks it, and answers as the service would."""

import asyncio
import json
import socket
import struct
import sys

import aiohttp
from aiohttp import web

from . import batches, bigquery, calls, clusters, control, datasets, functions, jobs, metadata, operations
from .auth import Auth
from .children import Children
from .discovery import Discovery
from .errors import ApiError, invalid
from .schema import SchemaError
from .state import Project
from .storage import Storage
from .warehouse import Warehouse

# Every method that the fake carries out, by its name in the discovery documents.
METHODS = {**metadata.METHODS, **bigquery.METHODS, **datasets.METHODS, **operations.METHODS, **clusters.METHODS,
           **jobs.METHODS, **batches.METHODS, **functions.METHODS}


class Call:
    """One request for one method."""

    def __init__(self, fake, method, params, project, account):
        self.fake = fake
        self.method = method
        self.params = params
        self.project = project
        self.account = account
        self.body = {}
        self.fault = None
        self.headers = {}

    def service(self, kind):
        """The project's part of a service."""
        return self.project.service(kind)


class Fake:
    """The server's state."""

    def __init__(self, url, options):
        self.url = url
        self.options = options
        self.auth = Auth(url)
        self.discovery = Discovery()
        self.projects = {}
        self.children = Children()
        self.warehouse = Warehouse()
        self.storage = Storage(options.storage)
        self.opened = None
        self.problems = []
        self.tasks = set()

    def spawn(self, work):
        """Lets work go on beside the requests; the loop itself would forget it."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def project(self, name):
        """A project; every name exists."""
        if name not in self.projects:
            self.projects[name] = Project(name)
        return self.projects[name]

    async def handle(self, request):
        """One request, whatever it is for."""
        path = request.path
        if path.startswith("/_fake/"):
            return await control.handle(self, request)
        if path == "/" or path.startswith("/computeMetadata/"):
            return await metadata.metadata(self, request)
        if path == "/token":
            return await metadata.token(self, request)
        if path.startswith("/_uploads/") and request.method == "PUT":
            return await calls.upload(self, request)
        try:
            return await (calls.call(self, request) if path.startswith("/_functions/") else self.api(request))
        except ConnectionAbortedError:
            return drop(request)

    def calls(self):
        """The connections to functions."""
        if self.opened is None:
            self.opened = aiohttp.ClientSession(auto_decompress=False)
        return self.opened

    async def close(self):
        """Ends what was started and closes what was opened."""
        await self.children.stop()
        await self.storage.close()
        if self.opened is not None:
            await self.opened.close()

    async def api(self, request):
        """One request of a service's API."""
        raw_path = request.rel_url.path
        found = self.discovery.find(request.method, raw_path)
        if found is None:
            return respond(ApiError(404, f"no method {request.method} {raw_path} in Google's descriptions"))
        method, params = found
        project = self.project(project_of(raw_path))
        entry = {"method": method.id, "http": request.method, "path": raw_path, "query": request.rel_url.query_string}
        project.requests.append(entry)
        call = Call(self, method, params, project, None)
        try:
            answer = await self.answer(call, request, entry)
        except ApiError as error:
            entry["status"] = error.http
            return respond(error)
        except ConnectionAbortedError:
            entry["status"] = 0
            raise
        except Exception as error:  # A mistake of the fake's own must be seen, not taken for Google's answer.
            entry["status"] = 500
            return self.problem(f"{method.id}: {type(error).__name__}: {error}")
        entry["status"] = answer.status
        return answer

    async def answer(self, call, request, entry):
        """Checks, carries out and answers one call."""
        call.account = entry["account"] = self.auth.caller(request.headers.get("Authorization", ""))
        raw = await request.content.read()
        body = parse(raw)
        if request.method != "GET":
            entry["body"] = body
        fault = call.fault = call.project.fault_for(call.method.id, is_dry_run(body))
        if fault is not None:
            entry["fault"] = fault.kind
            if fault.kind == "reset":
                raise ConnectionAbortedError("reset")
            if fault.error():
                raise fault.error()
        path_params = call.params
        call.params = {**path_params, **call.method.check_query(request.rel_url.query)}
        call.body = call.method.check_body(body, path_params)
        handler = METHODS.get(call.method.id)
        if handler is None:
            raise ApiError(501, f"the fake does not carry out {call.method.id}")
        result = await handler(call)
        if fault is not None and fault.kind == "lost_reply":
            raise ConnectionAbortedError("lost_reply")
        return self.checked(call, request, result)

    def checked(self, call, request, result):
        """The answer, if it is one that Google could send."""
        alt = request.rel_url.query.get("$alt", "") + request.rel_url.query.get("alt", "")
        try:
            result = call.method.check_answer(result, "enum-encoding=int" in alt)
        except SchemaError as error:
            return self.problem(f"{call.method.id} answers what Google never would: {error}")
        if result is None:
            return web.Response(status=204)
        return web.json_response(result)

    def problem(self, message):
        """Records a mistake of the fake's own, and answers 500."""
        self.problems.append(message)
        print(f"fake_google: {message}", file=sys.stderr, flush=True)
        return respond(ApiError(500, f"the fake is wrong: {message}", "internalError"))


def parse(raw):
    """A body's JSON."""
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise invalid(f"Invalid JSON payload received. {error}", "parseError") from error
    if not isinstance(body, dict):
        raise invalid("Invalid JSON payload received. The body must be an object", "parseError")
    return body


def is_dry_run(body):
    """Whether a body asks what would happen, rather than that it shall."""
    configuration = body.get("configuration")
    return bool(body.get("dryRun") or (isinstance(configuration, dict) and configuration.get("dryRun")))


def respond(error):
    """An error as an answer."""
    return web.json_response(error.body(), status=error.http)


def project_of(path):
    """The project that a path names."""
    _, found, rest = path.partition("/projects/")
    return rest.split("/", 1)[0] if found else ""


def drop(request):
    """Breaks the connection: the client sees a reset, and no answer."""
    transport = request.transport
    if transport is not None:
        # A linger time of zero makes the kernel send a reset rather than an orderly end.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def serve(options):
    """Listens until `options.ended` is set, after calling `options.ready` with the running fake."""
    listener = socket.create_server((options.host, options.port), backlog=4096)
    url = f"http://{options.host}:{listener.getsockname()[1]}"
    fake = Fake(url, options)
    runner = web.ServerRunner(web.Server(fake.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=4096).start()
    options.ready(fake)
    try:
        await options.ended.wait()
    finally:
        await fake.close()
        await runner.cleanup()
