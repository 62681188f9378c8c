"""Calls of deployed functions, and the upload of their source: what does not go through an API of Google's."""

import aiohttp
from aiohttp import web

from .errors import ApiError
from .functions import Functions
from .state import CALL

HOP_BY_HOP = {"host", "authorization", "connection", "transfer-encoding", "content-length", "keep-alive"}
TIMEOUT = 60


async def upload(fake, request):
    """Takes a function's source, as a signed address of Cloud Storage does."""
    _, _, project, name = request.path.split("/", 3)
    if request.headers.get("Content-Type") != "application/zip" or "Authorization" in request.headers:
        return web.Response(status=403, text="the signature covers Content-Type application/zip and no Authorization")
    fake.project(project).service(Functions).uploads[name] = await request.content.read()
    return web.Response()


async def call(fake, request):
    """Passes a request on to a function, if the caller may call it."""
    parts = request.path.split("/", 5)
    project = fake.project(parts[2]) if len(parts) > 4 else None
    if project is None:
        return web.Response(status=404)
    name = f"projects/{parts[2]}/locations/{parts[3]}/functions/{parts[4]}"
    entry = {"method": CALL, "http": request.method, "path": request.path, "query": request.query_string}
    project.requests.append(entry)
    try:
        answer = await passed_on(fake, project, name, request, entry)
    except ConnectionAbortedError:
        entry["status"] = 0
        raise
    except ApiError as error:
        answer = web.Response(status=error.http, text=error.message)
    entry["status"] = answer.status
    return answer


async def passed_on(fake, project, name, request, entry):
    """The function's own answer; raises `ApiError` for a call that does not reach it."""
    function = project.service(Functions).functions.get(name)
    if function is None or function.child is None:
        raise ApiError(404, "Page not found")
    entry["account"] = fake.auth.invoker(request.headers.get("Authorization", ""), function.url)
    body = await request.content.read()
    entry["body"] = body.decode(errors="replace")
    fault = project.fault_for(CALL)
    if fault is not None:
        entry["fault"] = fault.kind
        if fault.kind == "reset":
            raise ConnectionAbortedError("reset")
        if fault.error():
            raise fault.error()
    rest = request.rel_url.raw_path_qs.removeprefix(f"/_functions/{'/'.join(request.path.split('/')[2:5])}")
    headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
    seconds = function.body.get("serviceConfig", {}).get("timeoutSeconds") or TIMEOUT
    url = f"http://127.0.0.1:{function.port}{rest if rest.startswith('/') else '/' + rest}"
    async with fake.calls().request(request.method, url, data=body, headers=headers, allow_redirects=False,
                                    timeout=aiohttp.ClientTimeout(total=seconds)) as answer:
        content = await answer.read()
    await project.work(0, "jobs")
    if fault is not None and fault.kind == "lost_reply":
        raise ConnectionAbortedError("lost_reply")
    kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP}
    return web.Response(status=answer.status, body=content, headers=kept)
