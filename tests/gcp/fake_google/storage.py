"""The little of Cloud Storage that Dataproc and Cloud Functions need: objects read, written and looked for."""

from urllib.parse import quote

import aiohttp
from yarl import URL

from .errors import ApiError


class Storage:
    """A client of the storage server that the tests use too."""

    def __init__(self, url):
        self.url = url
        self.opened = None

    def client(self):
        """The connection pool; raises `ApiError` when there is no storage server."""
        if not self.url:
            raise ApiError(501, "the fake was started without --storage")
        if self.opened is None:
            self.opened = aiohttp.ClientSession()
        return self.opened

    async def close(self):
        """Closes the connections."""
        if self.opened is not None:
            await self.opened.close()

    async def read(self, uri):
        """An object's bytes, or None."""
        bucket, name = split(uri)
        url = f"{self.url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        async with self.client().get(URL(f"{url}?alt=media", encoded=True)) as answer:
            return await answer.read() if answer.status == 200 else None

    async def exists(self, uri):
        """Whether there is such an object."""
        return await self.read(uri) is not None

    async def write(self, uri, content):
        """Writes an object, in a bucket that is made when it is missing."""
        bucket, name = split(uri)
        url = f"{self.url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        for _ in range(2):
            async with self.client().post(URL(url, encoded=True), data=content) as answer:
                if answer.status == 200:
                    return
            async with self.client().post(f"{self.url}/storage/v1/b", json={"name": bucket}):
                pass
        raise OSError(f"the storage server does not take {uri}: {answer.status}")


def split(uri):
    """Bucket and name of a `gs://` address; raises `ApiError`."""
    bucket, found, name = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not found or not name:
        raise ApiError(400, f"Invalid Cloud Storage address '{uri}'")
    return bucket, name
