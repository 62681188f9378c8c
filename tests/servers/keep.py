"""Keeps a server for a test process: runs it until standard input ends, then ends it and removes its folder.

The pipe on standard input closes with the test process, however that ends. In the folder are the server's output
(`out`, `err`) and, once the server has ended by itself, a file `ended` with its exit status.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

# How long a server may take to end by itself.
GRACE = 10


def start(folder, user, command):
    """Starts the server, as another user if there is one, in a process group of its own."""
    rights = {}
    if user:
        shutil.chown(folder, user)
        rights = {"user": user, "group": user, "extra_groups": []}
    with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
        # Its standard input stays open as long as this process lives: some servers end with it.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=err, start_new_session=True, **rights
        )


def note_end(server, folder):
    """Tells the test that the server has ended by itself."""
    status = server.wait()
    if folder.exists():
        (folder / "ended").write_text(str(status))


def end(server, by):
    """Ends the server and whatever it has started."""
    server.stdin.close()
    if server.poll() is None:
        if by:
            server.send_signal(signal.Signals[f"SIG{by}"])
        try:
            server.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=pathlib.Path, required=True)
    arguments.add_argument("--signal", default="TERM", help="what tells the server to end; nothing where the end of its input does")
    arguments.add_argument("--user", default="", help="whom it runs as")
    arguments.add_argument("command", nargs="+")
    told = arguments.parse_args()
    try:
        server = start(told.folder, told.user, told.command)
    except OSError as error:
        (told.folder / "err").write_text(f"{error}\n")
        (told.folder / "ended").write_text("not started")
        server = None
    else:
        threading.Thread(target=note_end, args=(server, told.folder), daemon=True).start()
    while sys.stdin.buffer.read(4096):
        pass
    if server:
        end(server, told.signal)
    shutil.rmtree(told.folder, ignore_errors=True)


main()
