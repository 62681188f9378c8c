"""Spark programs: a Python script is run for real, and what it prints goes to the bucket as Dataproc puts it there.

A jar cannot be run here, nor can Spark's SQL: of those the files must exist, they take their time, and succeed.
"""

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from .errors import ApiError

# An object of driver output is written again, longer, until it has this many bytes; then comes the next one.
CHUNK = 4096
READ = 65536
# Google's own buckets of connectors, which no test has.
PUBLIC = ("gs://spark-lib/", "gs://hadoop-lib/")


class Failed(Exception):
    """A program that has failed, and why."""


class Work:
    """One Spark program on its way: of a cluster's job or of a batch."""

    def __init__(self, fake, project, output, environment):
        self.fake = fake
        self.project = project
        self.output = output
        self.environment = environment
        self.child = None
        self.ended_by = None
        self.task = None
        self.written = 0
        self.tail = b""
        self.chunk = b""

    def end(self, why):
        """Ends the program from outside."""
        self.ended_by = self.ended_by or why
        if self.child is not None:
            self.fake.children.kill(self.child)
        self.task.cancel()

    async def run(self, kind, program):
        """Runs a program of a kind until it ends; raises `Failed`."""
        for uri in program.get("jarFileUris", []):
            if not uri.startswith(PUBLIC):
                await self.must_exist(uri)
        if kind == "python":
            await self.python(program)
        elif kind == "jar":
            if program.get("mainJarFileUri"):
                await self.must_exist(program["mainJarFileUri"])
            elif not program.get("mainClass"):
                raise Failed("neither mainJarFileUri nor mainClass is given")
            await self.say(b"fake_google: no JVM here, so this jar only takes its time\n")
        else:
            if program.get("queryFileUri"):
                await self.must_exist(program["queryFileUri"])
            await self.say(b"fake_google: no Spark SQL here, so this script only takes its time\n")
        if kind != "python":
            await asyncio.sleep(self.project.job_seconds)

    async def must_exist(self, uri):
        """The bytes of a file that the program needs; raises `Failed`."""
        if uri.startswith("file:"):
            return b""
        try:
            content = await self.fake.storage.read(uri)
        except ApiError as error:
            raise Failed(error.message) from error
        if content is None:
            raise Failed(f"File not found: {uri}")
        return content

    async def python(self, program):
        """Runs a PySpark script."""
        folder = Path(tempfile.mkdtemp(dir=self.fake.options.folder))
        try:
            main = await self.fetch(program["mainPythonFileUri"], folder)
            modules = [await self.fetch(uri, folder) for uri in program.get("pythonFileUris", [])]
            for uri in program.get("fileUris", []):
                await self.fetch(uri, folder)
            await self.execute(main, program.get("args", []), folder, modules, program.get("properties", {}))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def fetch(self, uri, folder):
        """A file of the bucket, in the program's folder."""
        path = folder / uri.rpartition("/")[2]
        path.write_bytes(await self.must_exist(uri))
        return path

    async def execute(self, main, arguments, folder, modules, properties):
        """Runs the script and passes on what it prints; raises `Failed` when it fails."""
        paths = [*self.fake.options.job_path, str(folder), *map(str, modules), os.environ.get("PYTHONPATH", "")]
        settings = " ".join(f"--conf {json.dumps(f'{key}={value}')}" for key, value in properties.items())
        environment = {**os.environ, **self.environment, "FAKE_GOOGLE_URL": self.fake.url,
                       "STORAGE_EMULATOR_HOST": self.fake.storage.url, "PYTHONUNBUFFERED": "1",
                       "PYTHONPATH": os.pathsep.join(path for path in paths if path),
                       "PYSPARK_SUBMIT_ARGS": f"{settings} pyspark-shell".strip()}
        self.child = await self.fake.children.start(
            self.fake.options.python, str(main), *arguments, cwd=folder, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        try:
            while part := await self.child.stdout.read(READ):
                await self.say(part)
            status = await self.fake.children.wait(self.child)
        except asyncio.CancelledError:
            self.fake.children.kill(self.child)
            await self.fake.children.wait(self.child)
            raise
        if status:
            last = self.tail.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
            raise Failed(f"Job failed with message [{last[0]}] and exit status {status}. "
                         f"Additional details can be found in {self.output}")

    async def say(self, text):
        """Adds to the driver's output."""
        self.tail = (self.tail + text)[-2000:]
        while text:
            room = CHUNK - len(self.chunk)
            self.chunk, text = self.chunk + text[:room], text[room:]
            await self.fake.storage.write(f"{self.output}.{self.written:09d}", self.chunk)
            if len(self.chunk) == CHUNK:
                self.written, self.chunk = self.written + 1, b""


@contextlib.contextmanager
def mistakes(fake, what):
    """Turns the fake's own mistakes into failures that are said."""
    try:
        yield
    except (Failed, asyncio.CancelledError):
        raise
    except Exception as error:
        fake.problem(f"{what}: {type(error).__name__}: {error}")
        raise Failed(f"the fake is wrong: {error}") from error
