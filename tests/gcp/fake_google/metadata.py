"""Where credentials come from: the metadata server of Google's machines, OAuth's token endpoint, impersonation."""

import datetime

from aiohttp import web

from .auth import HOUR, PROJECT
from .errors import ApiError, invalid

FLAVOR = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
ROOT = "/computeMetadata/v1/"


async def metadata(fake, request):
    """One request to the metadata server."""
    if request.path == "/":
        return web.Response(text="computeMetadata/\n", headers=FLAVOR)
    if request.headers.get("Metadata-Flavor") != "Google":
        return web.Response(status=403, text="Missing Metadata-Flavor:Google header", headers=FLAVOR)
    return answer(fake, request.path.removeprefix(ROOT).rstrip("/"), request.query)


def answer(fake, path, query):
    """What the metadata server keeps at a path."""
    account = fake.auth.account
    texts = {
        "project/project-id": PROJECT,
        "project/numeric-project-id": "100000000001",
        "universe/universe-domain": "googleapis.com",
        "universe/universe_domain": "googleapis.com",
    }
    if path in texts:
        return web.Response(text=texts[path], headers=FLAVOR)
    parts = path.split("/")
    if parts[:2] != ["instance", "service-accounts"]:
        return web.Response(status=404, headers=FLAVOR)
    if len(parts) == 2:
        return web.Response(text=f"default/\n{account}/\n", headers=FLAVOR)
    if parts[2] not in ("default", account):
        return web.Response(status=404, headers=FLAVOR)
    return of_account(fake, account, "/".join(parts[3:]), query)


def of_account(fake, account, what, query):
    """A token or a fact of the machine's service account."""
    facts = {"email": account, "aliases": "default", "scopes": "https://www.googleapis.com/auth/cloud-platform"}
    if what in facts:
        return web.Response(text=facts[what], headers=FLAVOR)
    if what == "token":
        token = {"access_token": fake.auth.new_access_token(account), "expires_in": HOUR, "token_type": "Bearer"}
        return web.json_response(token, headers=FLAVOR)
    if what == "identity":
        if "audience" not in query:
            return web.Response(status=400, text="non-empty audience parameter required", headers=FLAVOR)
        return web.Response(text=fake.auth.new_id_token(account, query["audience"]), headers=FLAVOR)
    if what == "":
        listing = {"aliases": ["default"], "email": account, "scopes": [facts["scopes"]]}
        return web.json_response(listing, headers=FLAVOR)
    return web.Response(status=404, headers=FLAVOR)


async def token(fake, request):
    """OAuth: a signed assertion for an access token."""
    try:
        return web.json_response(fake.auth.exchange(await request.post()))
    except ApiError as error:
        name = error.status if error.status.islower() else "invalid_grant"
        return web.json_response({"error": name, "error_description": error.message}, status=400)


async def generate_access_token(call):
    """An access token for another account."""
    if not call.body.get("scope"):
        raise invalid("scope is required")
    seconds = float(call.body.get("lifetime", f"{HOUR}s").rstrip("s"))
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return {"accessToken": call.fake.auth.new_access_token(account_of(call), seconds),
            "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")}


async def generate_id_token(call):
    """An identity token for another account."""
    if not call.body.get("audience"):
        raise invalid("audience is required")
    return {"token": call.fake.auth.new_id_token(account_of(call), call.body["audience"])}


def account_of(call):
    """The account that is impersonated."""
    return call.params["name"].rpartition("/")[2]


METHODS = {
    "iamcredentials.projects.serviceAccounts.generateAccessToken": generate_access_token,
    "iamcredentials.projects.serviceAccounts.generateIdToken": generate_id_token,
}
