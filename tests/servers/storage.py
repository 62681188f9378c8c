"""gcp-storage-emulator, in memory, with what Google's own clients rely on beyond it.

- `X-Goog-Generation` beside an object that is read: Google's Rust client refuses an answer without it.
- Upload URLs with the server's port: that client's `Host` header lacks it.
- A thread for each connection: one that a client opens and does not use would block all others.
"""

import argparse
import functools
import http.server
import threading

from gcp_storage_emulator import server as emulator
from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.storage import Storage

LOCK = threading.Lock()


def with_generation(download):
    """Adds the object's generation to what is answered."""

    def answer(request, response, storage, *args, **kwargs):
        download(request, response, storage, *args, **kwargs)
        if response.status in (200, 206):
            place = request.params["bucket_name"], request.params["object_id"]
            response["X-Goog-Generation"] = storage.get_file_obj(*place)["generation"]

    return answer


class Request(emulator.Request):
    """A request whose URLs name the server's port."""

    def __init__(self, request_handler, method):
        super().__init__(request_handler, method)
        host, port = self._server_address[:2]
        self._base_url = f"http://{host}:{port}"
        self._full_url = self._base_url + self._path


class Router(emulator.Router):
    """The emulator's storage serves one request at a time."""

    def handle(self, method):
        with LOCK:
            super().handle(method)


class Server(http.server.ThreadingHTTPServer):
    """A server with room for many clients at once."""

    request_queue_size = 128


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    port = arguments.parse_args().port
    objects.download = with_generation(objects.download)
    emulator.Request = Request
    emulator.Router = Router
    handler = functools.partial(emulator.RequestHandler, Storage(use_memory_fs=True))
    Server(("127.0.0.1", port), handler).serve_forever()


main()
