"""Packages in a bucket of a store of the kind of S3. Implements ports.SharedPackages.

Each request is one presigned address; what is stored is compared with its MD5 by the store, and by its digest
when it comes back. The key of a package is its digest.
"""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
from yarl import URL

from repave_controller.core.ports import PackageGone, StoreError
from repave_controller.fleet.presigning import Bucket, keys_of, presigned
from repave_protos.protocol.values import Digest

SUFFIX = ".tar.gz"
SECONDS_SIGNED = 3600
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
ATTEMPTS = 3
PAUSE_SECONDS = 0.5
CHUNK_BYTES = 256 * 1024
BUSY = (500, 502, 503, 504, 429)


class S3Packages:
    """In one bucket. The file of the keys is read for each request: renewed ones count at once."""

    def __init__(
        self,
        bucket: Bucket,
        credentials: Path,
        wall: Callable[[], float],
        *,
        prefix: str = "",
        is_direct: bool = False,
        authorities: str = "",
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`authorities`: certificates (PEM) to trust beside the public ones. Raises ValueError."""
        self._bucket, self._credentials, self._wall = bucket, credentials, wall
        self._prefix, self._is_direct, self._pause = prefix, is_direct, pause
        self._session: aiohttp.ClientSession | None = None
        self._tls = ssl.create_default_context()
        if authorities:
            self._tls.load_verify_locations(cadata=authorities)

    async def has(self, digest: Digest) -> bool:
        return await self._ask("HEAD", digest) != 404

    async def put(self, digest: Digest, file: Path) -> None:
        md5 = await asyncio.to_thread(_md5_of, file)
        headers = {"Content-MD5": md5, "Content-Type": "application/gzip"}
        await self._ask("PUT", digest, file, headers)

    async def chunks(self, digest: Digest) -> AsyncIterator[bytes]:
        try:
            async with self._request("GET", digest) as response:
                if response.status == 404:
                    raise PackageGone(f"{self._shown(digest)} is not there, or no longer")
                await self._check(response, digest)
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreached(digest, error) from None

    async def remove(self, digest: Digest) -> None:
        await self._ask("DELETE", digest)

    async def direct(self, digest: Digest) -> str:
        return str(self._address("GET", digest)) if self._is_direct else ""

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    # ------------------------------------------------------------------------------------------- inside

    async def _ask(
        self, method: str, digest: Digest, file: Path | None = None, headers: dict[str, str] | None = None
    ) -> int:
        """The status, which is 404 or says that it is done. A store that is busy is asked again."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                body = file.open("rb") if file is not None else None
                try:
                    async with self._request(method, digest, body, headers) as response:
                        if response.status not in BUSY or attempt == ATTEMPTS:
                            await self._check(response, digest)
                            return response.status
                finally:
                    if body is not None:
                        body.close()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if attempt == ATTEMPTS:
                    raise self._unreached(digest, error) from None
            await self._pause(PAUSE_SECONDS * attempt)
        raise AssertionError("the last attempt returns or raises")

    def _request(
        self, method: str, digest: Digest, body: object = None, headers: dict[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
            )
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        address = self._address(method, digest)
        return self._session.request(
            method, address, data=body, headers=headers, ssl=self._tls, allow_redirects=False
        )

    def _address(self, method: str, digest: Digest) -> URL:
        try:
            keys = keys_of(self._credentials.read_text())
        except (OSError, ValueError) as error:
            raise StoreError(f"packages.credentials: {self._credentials} can't be used: {error}") from error
        return presigned(self._bucket, self._key(digest), keys, self._wall(), SECONDS_SIGNED, method)

    async def _check(self, response: aiohttp.ClientResponse, digest: Digest) -> None:
        if response.status == 404 and response.method in ("HEAD", "DELETE"):
            return
        if response.status >= 300:
            said = (await response.text(errors="replace"))[:300] or response.reason or ""
            raise StoreError(
                f"{self._shown(digest)}: the store answered {response.status} to {response.method}: {said}. "
                "See packages.bucket, packages.endpoint and packages.credentials."
            )

    def _unreached(self, digest: Digest, error: BaseException) -> StoreError:
        why = str(error).partition("?")[0] or type(error).__name__  # the query is secret
        return StoreError(f"{self._shown(digest)} can't be reached: {why}. See packages.endpoint.")

    def _shown(self, digest: Digest) -> str:
        return f"s3://{self._bucket.name}/{self._key(digest)}"

    def _key(self, digest: Digest) -> str:
        return f"{self._prefix}{digest}{SUFFIX}"


def _md5_of(file: Path) -> str:
    """As Content-MD5 has it: only against what is lost on the way."""
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False))
    return base64.b64encode(found.digest()).decode()
