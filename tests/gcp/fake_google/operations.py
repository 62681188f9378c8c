"""Long-running operations, as Dataproc and Cloud Functions answer them."""

import uuid

from .errors import ApiError, not_found

TYPE = "type.googleapis.com/"


class Operations:
    """A project's operations."""

    def __init__(self, project):
        self.project = project
        self.all = {}
        self.by_request = {}

    def ledger(self):
        """What a test may see of them."""
        return {"operations": {name: {"done": one.done, "kind": one.kind, "target": one.target,
                                      "error": one.error and one.error["message"]} for name, one in self.all.items()}}

    def find(self, name):
        """An operation; raises `ApiError`."""
        if name not in self.all:
            raise not_found(f"Operation {name}")
        return self.all[name]

    def start(self, parent, kind, target, metadata):
        """A new operation below `parent`."""
        one = Operation(f"{parent}/operations/{uuid.uuid4()}", kind, target, metadata)
        self.all[one.name] = one
        return one

    def repeated(self, method, target, request_id):
        """The operation that an equal request started before, or None."""
        return self.by_request.get((method, target, request_id)) if request_id else None

    def remember(self, method, target, request_id, operation):
        """Lets a repeated request find its operation."""
        if request_id:
            self.by_request[method, target, request_id] = operation
        return operation


class Operation:
    """One operation."""

    def __init__(self, name, kind, target, metadata):
        self.name = name
        self.kind = kind
        self.target = target
        # Called for each answer, so that it shows how far things are.
        self.metadata = metadata
        self.done = False
        self.error = None
        self.response = None
        # What cancels the work, where it can be cancelled.
        self.cancel = None

    def finish(self, kind, response):
        """Ends it well; `kind` is the message's name, `response` the message."""
        self.done = True
        self.response = {"@type": TYPE + kind, **response}

    def fail(self, error):
        """Ends it with an `ApiError`."""
        self.done = True
        self.error = error.rpc_status()

    def show(self):
        """The operation as the API shows it."""
        result = {"name": self.name, "metadata": self.metadata(self), "done": self.done}
        if self.error:
            result["error"] = self.error
        elif self.done:
            result["response"] = self.response
        return result


async def get(call):
    """operations.get."""
    return call.service(Operations).find(call.params["name"]).show()


async def list_operations(call):
    """operations.list."""
    name = call.params["name"]
    prefix = name + "/" if name.endswith("/operations") else name + "/operations/"
    return {"operations": [one.show() for key, one in call.service(Operations).all.items() if key.startswith(prefix)]}


async def cancel(call):
    """operations.cancel."""
    operation = call.service(Operations).find(call.params["name"])
    if operation.cancel is None:
        raise ApiError(400, f"{operation.name} cannot be cancelled", status="FAILED_PRECONDITION")
    if not operation.done:
        operation.cancel()
    return {}


async def delete(call):
    """operations.delete."""
    operations = call.service(Operations)
    if not operations.find(call.params["name"]).done:
        raise ApiError(400, "the operation has not ended", status="FAILED_PRECONDITION")
    del operations.all[call.params["name"]]
    return {}


METHODS = {f"dataproc.projects.{place}.operations.{name}": handler for place in ("regions", "locations")
           for name, handler in (("get", get), ("list", list_operations), ("cancel", cancel), ("delete", delete))}
METHODS["cloudfunctions.projects.locations.operations.get"] = get
METHODS["cloudfunctions.projects.locations.operations.list"] = list_operations
