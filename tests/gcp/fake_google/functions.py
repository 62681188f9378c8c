"""Cloud Functions: source that was uploaded is unpacked and served by Google's `functions-framework`."""

import asyncio
import copy
import io
import os
import re
import shutil
import socket
import sys
import tempfile
import uuid
import zipfile
from pathlib import Path

from .errors import ApiError, invalid, not_found
from .labels import check_labels
from .operations import TYPE, Operations
from .paths import camel, set_in, value_at
from .state import now_text

NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
KIND = "google.cloud.functions.v2.Function"
PARTS = ("description", "buildConfig", "serviceConfig", "labels", "environment")
# How long a function may take to listen.
START = 60
UPLOADS = "gcf-v2-uploads.fake"


class Functions:
    """A project's functions, and the source that was uploaded for them."""

    def __init__(self, project):
        self.project = project
        self.functions = {}
        self.uploads = {}
        self.made = {}
        self.refused = {}

    def ledger(self):
        """What a test may see of them, those that are gone included."""
        result = {}
        for name, times in self.made.items():
            function = self.functions.get(name)
            result[name.rpartition("/")[2]] = {
                "state": function.state if function else "DELETED", "made": times, "refused": self.refused.get(name, 0),
                "deployed": function and function.deployed, "labels": function and function.body.get("labels", {})}
        return {"functions": result}

    def find(self, name):
        """A function; raises `ApiError`."""
        if name not in self.functions:
            raise not_found(f"Resource '{name}'")
        return self.functions[name]


class Function:
    """One function and the process that serves it."""

    def __init__(self, fake, name, body):
        self.fake = fake
        self.name = name
        self.body = body
        self.state = "DEPLOYING"
        self.message = None
        self.created = self.updated = now_text()
        self.deployed = 0
        self.child = self.port = self.folder = None

    @property
    def url(self):
        """Where the function is called, and the audience of the tokens for it."""
        _, project, _, location, _, function = self.name.split("/")
        return f"{self.fake.url}/_functions/{project}/{location}/{function}"

    def show(self):
        """The function as the API shows it."""
        result = {**copy.deepcopy(self.body), "name": self.name, "state": self.state, "environment": "GEN_2",
                  "createTime": self.created, "updateTime": self.updated, "url": self.url}
        result.setdefault("serviceConfig", {}).update(uri=self.url, service=self.name.replace("functions", "services"))
        if self.message:
            result["stateMessages"] = [{"severity": "ERROR", "type": "CloudRunServiceNotFound",
                                        "message": self.message}]
        return result

    async def deploy(self, source):
        """Starts a process for source; the old one goes on when that fails. Raises `ApiError`."""
        folder = Path(tempfile.mkdtemp(dir=self.fake.options.folder))
        unpack(source, folder)
        port = free_port()
        child = await self.start(folder, port)
        try:
            await listening(child, port)
        except ApiError:
            self.fake.children.kill(child)
            await self.fake.children.wait(child)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        await self.stop()
        self.child, self.port, self.folder = child, port, folder
        self.deployed += 1

    async def start(self, folder, port):
        """Starts `functions-framework` on source."""
        build, service = self.body.get("buildConfig", {}), self.body.get("serviceConfig", {})
        environment = {**os.environ, **service.get("environmentVariables", {}), "K_SERVICE": self.name.split("/")[-1],
                       "PORT": str(port), "PYTHONUNBUFFERED": "1"}
        program = Path(sys.executable).with_name("functions-framework")
        child = await self.fake.children.start(
            str(program), "--target", build.get("entryPoint", "main"), "--source", str(folder / "main.py"),
            "--signature-type", "http", "--host", "127.0.0.1", "--port", str(port), cwd=folder, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        child.said = bytearray()
        child.listener = self.fake.spawn(listen(child))
        return child

    async def stop(self):
        """Ends the process."""
        if self.child is not None:
            self.fake.children.kill(self.child)
            await self.fake.children.wait(self.child)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.child = None


async def listen(child):
    """Keeps the end of what a function's process prints."""
    while part := await child.stdout.read(4096):
        child.said += part
        del child.said[:-4000]


async def listening(child, port):
    """Waits until a process listens; raises `ApiError` with what it said when it ends instead."""
    end = asyncio.get_running_loop().time() + START
    while asyncio.get_running_loop().time() < end:
        if child.returncode is not None:
            await child.listener
            last = child.said.decode(errors="replace").strip().splitlines()[-1:]
            raise invalid(f"Could not create or update Cloud Run service, Container Healthcheck failed: "
                          f"{last[0] if last else 'it said nothing'}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.05)
    raise invalid(f"the function does not listen after {START} s")


def unpack(source, folder):
    """Unpacks a function's archive; raises `ApiError`."""
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as archive:
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise invalid(f"Build failed: the source is no zip archive: {error}") from error
    if not (folder / "main.py").exists():
        raise invalid("Build failed: missing main.py in the source")


def free_port():
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def source_of(call, body):
    """The archive that a function's source names; raises `ApiError`."""
    source = body.get("buildConfig", {}).get("source", {}).get("storageSource", {})
    bucket, name = source.get("bucket"), source.get("object")
    if bucket == UPLOADS:
        found = call.service(Functions).uploads.get(name)
    else:
        found = await call.fake.storage.read(f"gs://{bucket}/{name}")
    if found is None:
        raise invalid(f"Build failed: there is no source at gs://{bucket}/{name}")
    return found


def check(body):
    """Whether a function can be deployed as asked; raises `ApiError`."""
    build = body.get("buildConfig", {})
    if not build.get("runtime"):
        raise invalid("build_config.runtime is required")
    if not build["runtime"].startswith("python"):
        raise ApiError(501, f"the fake runs Python functions only, not {build['runtime']}")
    if not build.get("entryPoint"):
        raise invalid("build_config.entry_point is required")
    if not build.get("source", {}).get("storageSource", {}).get("object"):
        raise invalid("build_config.source.storage_source is required")
    check_labels(body.get("labels", {}))


def begin(call, function, verb):
    """Starts an operation on a function."""
    def metadata(operation):
        result = {"@type": f"{TYPE}google.cloud.functions.v2.OperationMetadata", "createTime": function.updated,
                  "target": function.name, "verb": verb, "apiVersion": "v2", "cancelRequested": False}
        return {**result, "endTime": now_text()} if operation.done else result
    parent = "/".join(function.name.split("/")[:4])
    return call.service(Operations).start(parent, verb.upper(), function.name, metadata)


def carry_out(call, operation, function, work):
    """Lets an operation take its time, do its work, and end."""
    told = call.fault if call.fault and call.fault.kind == "operation_error" else None

    async def later():
        try:
            await call.project.work(call.project.operation_seconds, "operations")
            if told:
                raise ApiError(500, told.message)
            await work()
        except ApiError as error:
            function.state, function.message = "FAILED", error.message
            operation.fail(error)
        except Exception as error:  # The fake's own mistake must not leave an operation without an end.
            call.fake.problem(f"{call.method.id}: {type(error).__name__}: {error}")
            operation.fail(ApiError(500, str(error)))
    call.fake.spawn(later())


def deploying(call, operation, function, body):
    """The work of create and patch."""
    async def work():
        function.body = body
        await function.deploy(await source_of(call, body))
        function.state, function.message, function.updated = "ACTIVE", None, now_text()
        operation.finish(KIND, function.show())
    return work


def given(body):
    """What of a function a caller may set."""
    return {key: copy.deepcopy(body[key]) for key in PARTS if key in body}


async def create(call):
    """functions.create."""
    function_id = call.params.get("functionId", "")
    if not NAME.fullmatch(function_id):
        raise invalid(f"Invalid function id '{function_id}'")
    name = f"{call.params['parent']}/functions/{function_id}"
    if call.body.get("name", name) != name:
        raise invalid(f"the function's name is {call.body['name']} in the body and {name} in the path")
    check(call.body)
    functions = call.service(Functions)
    if name in functions.functions:
        functions.refused[name] = functions.refused.get(name, 0) + 1
        raise ApiError(409, f"Could not create Cloud Function {name}. A resource with this name already exists.")
    function = functions.functions[name] = Function(call.fake, name, given(call.body))
    functions.made[name] = functions.made.get(name, 0) + 1
    operation = begin(call, function, "create")
    carry_out(call, operation, function, deploying(call, operation, function, function.body))
    return operation.show()


async def patch(call):
    """functions.patch: the parts that the mask names, or all that are given."""
    function = call.service(Functions).find(call.params["name"])
    if function.state == "DEPLOYING":
        raise ApiError(409, f"{function.name} is being deployed", status="ABORTED")
    changed = given(call.body)
    body = copy.deepcopy(function.body)
    mask = call.params.get("updateMask")
    for path in [camel(path) for path in mask.split(",")] if mask else changed:
        if path.split(".")[0] not in PARTS:
            raise invalid(f"'{path}' cannot be changed")
        set_in(body, path, value_at(changed, path))
    check(body)
    function.state = "DEPLOYING"
    operation = begin(call, function, "update")
    carry_out(call, operation, function, deploying(call, operation, function, body))
    return operation.show()


async def delete(call):
    """functions.delete."""
    function = call.service(Functions).find(call.params["name"])
    function.state = "DELETING"
    operation = begin(call, function, "delete")

    async def work():
        await function.stop()
        del call.service(Functions).functions[function.name]
        operation.finish("google.protobuf.Empty", {})
    carry_out(call, operation, function, work)
    return operation.show()


async def get(call):
    """functions.get."""
    return call.service(Functions).find(call.params["name"]).show()


async def list_functions(call):
    """functions.list."""
    return {"functions": [function.show() for name, function in call.service(Functions).functions.items()
                          if name.startswith(call.params["parent"] + "/")]}


async def generate_upload_url(call):
    """functions.generateUploadUrl."""
    name = f"{uuid.uuid4()}.zip"
    return {"uploadUrl": f"{call.fake.url}/_uploads/{call.project.name}/{name}",
            "storageSource": {"bucket": UPLOADS, "object": name}}


METHODS = {f"cloudfunctions.projects.locations.functions.{name}": handler for name, handler in {
    "create": create, "patch": patch, "delete": delete, "get": get, "list": list_functions,
    "generateUploadUrl": generate_upload_url}.items()}
