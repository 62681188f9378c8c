"""The tests' own way in, below `/_fake/`: faults, settings, rows for tables, and the ledger."""

import json

from aiohttp import web

from . import datasets
from .errors import ApiError, invalid
from .load import load as load_rows
from .state import Fault


async def handle(fake, request):
    """One request of a test."""
    try:
        handler = ROUTES.get((request.method, request.path.removeprefix("/_fake/")))
        if handler is None:
            raise ApiError(404, f"no {request.method} {request.path}")
        return web.json_response(await handler(fake, request))
    except ApiError as error:
        return web.json_response(error.body(), status=error.http)


async def asked(request):
    """The body of a test's request, and its project."""
    try:
        body = json.loads(await request.content.read())
    except json.JSONDecodeError as error:
        raise invalid(f"no JSON: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("project"), str):
        raise invalid("project is missing")
    return body


async def faults(fake, request):
    """Something that shall go wrong."""
    body = await asked(request)
    project = fake.project(body["project"])
    project.faults.append(Fault(fake.discovery.methods, body))
    return {}


async def settings(fake, request):
    """How long things take, and whether they end at all."""
    body = await asked(request)
    fake.project(body.pop("project")).set(body)
    return {}


async def ledger(fake, request):
    """Everything that a project was asked, and what it has."""
    project = fake.project(request.query.get("project", ""))
    wanted = request.query.get("method")
    requests = [entry for entry in project.requests if wanted in (None, entry["method"])]
    result = {"requests": requests, "problems": fake.problems, "jobs": {}, "clusters": {}, "batches": {},
              "operations": {}, "functions": {}, "faults_left": sum(fault.times for fault in project.faults)}
    for service in project.services.values():
        for kind, entries in service.ledger().items():
            result[kind].update(entries)
    return result


async def make_dataset(fake, request):
    """Makes a dataset without a request of the API; one that exists is left as it is."""
    body = await asked(request)
    await datasets.ensure(fake, body["project"], body["dataset"], body.get("location", "US"))
    return {}


async def load(fake, request):
    """Writes rows into a table, as Spark's connector would."""
    body = await asked(request)
    if isinstance(body.get("rows"), str):
        body["rows"] = [json.loads(line) for line in body["rows"].splitlines() if line]
    missing = [name for name in ("dataset", "table", "schema", "rows") if name not in body]
    if missing:
        raise invalid(f"{', '.join(missing)} is missing")
    return await load_rows(fake, body)


async def certs(fake, _request):
    """The public key of the tokens."""
    return fake.auth.certificates()


ROUTES = {
    ("POST", "faults"): faults,
    ("POST", "settings"): settings,
    ("GET", "ledger"): ledger,
    ("POST", "bigquery/datasets"): make_dataset,
    ("POST", "bigquery/load"): load,
    ("GET", "certs"): certs,
}
