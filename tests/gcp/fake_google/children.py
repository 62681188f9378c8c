"""The fake's subprocesses, none of which outlives it."""

import asyncio
import contextlib
import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


class Children:
    """Everything that was started and has not ended."""

    def __init__(self):
        self.running = set()

    async def start(self, *command, **options):
        """Starts a program in a process group of its own."""
        child = await asyncio.create_subprocess_exec(*command, start_new_session=True, preexec_fn=end_with_parent,
                                                     **options)
        self.running.add(child)
        return child

    async def wait(self, child):
        """The exit status of a child that ends by itself."""
        status = await child.wait()
        self.running.discard(child)
        return status

    def kill(self, child):
        """Ends a child and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    async def stop(self):
        """Ends all of them."""
        for child in list(self.running):
            self.kill(child)
            await self.wait(child)


def end_with_parent():
    """Has the kernel end this process when the fake itself is killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
