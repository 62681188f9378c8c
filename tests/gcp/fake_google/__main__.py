"""Starts the fake: says on standard output where it listens, and ends when its standard input is closed."""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from .server import serve


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="fake_google", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--storage", help="address of a gcp-storage-emulator, for Dataproc's scripts and output")
    parser.add_argument("--key-file", help="where to write the service account's key")
    parser.add_argument("--python", default=sys.executable, help="interpreter that runs PySpark jobs")
    parser.add_argument("--job-path", action="append", default=[], help="put before the modules a PySpark job sees")
    return parser.parse_args()


async def main():
    """Runs until standard input ends."""
    options = arguments()
    options.ended = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="fake-google-") as folder:
        options.folder = Path(folder)
        options.key_file = Path(options.key_file or Path(folder, "key.json")).absolute()
        options.ready = announce
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, options.ended.set)
        threading.Thread(target=watch_input, args=(loop, options.ended), daemon=True).start()
        await serve(options)


def announce(fake):
    """Writes the key, and then says that the fake listens."""
    path = fake.options.key_file
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(fake.auth.key_file())
    print(json.dumps({"url": fake.url, "key_file": str(path), "service_account": fake.auth.account}), flush=True)


def watch_input(loop, ended):
    """Sets `ended` when whoever started the fake is gone."""
    # `os.read` takes no lock that would be missed at the interpreter's end.
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    asyncio.run(main())
