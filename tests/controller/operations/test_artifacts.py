"""Packages by their address, from a real HTTPS server that means well or ill: what comes of each."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.domain.reasons import Refused
from repave_controller.fleet import fetching
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.operations.artifacts import Artifacts, Brought, Wanted, artifacts_of
from repave_controller.security.provenance import Provenance
from repave_controller.settings import ArtifactsSettings
from repave_controller.wording.render import text_of
from repave_simulation.tiers.store import MemoryStore
from tests.controller.api.conftest import a_package, sha256
from tests.fakes.signing import Signer
from tests.support.certificates import new_authority

AUTHORITY = new_authority()
V1, V2 = a_package("v1" * 5000), a_package("v2" * 5000)
CI = Signer()


@dataclass
class Shelf:
    """A server of artifacts at https://localhost, and what it was asked."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    leads: dict[str, str] = field(default_factory=dict)  # redirects
    statuses: dict[str, int] = field(default_factory=dict)
    cut_after: int | None = None
    has_ranges: bool = True
    etags: bool = True
    is_silent: bool = False
    announces: int | None = None
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    def url(self, path: str, host: str = "artifacts.example") -> str:
        return f"https://{host}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append((path, dict(request.headers)))
        if self.is_silent:
            await asyncio.sleep(60)
        if path in self.leads:
            raise web.HTTPFound(self.leads[path])
        if path in self.statuses:
            return web.Response(status=self.statuses[path])
        if path not in self.bodies:
            return web.Response(status=404)
        return await self._send(request, self.bodies[path])

    async def _send(self, request: web.Request, body: bytes) -> web.StreamResponse:
        etag = f'"{hashlib.md5(body).hexdigest()}"' if self.etags else ""
        if etag and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        start = int(request.headers.get("Range", "bytes=0-")[6:-1]) if self.has_ranges else 0
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = self.announces or len(body) - start
        if etag:
            response.headers["ETag"] = etag
        await response.prepare(request)
        rest = body[start:]
        if self.cut_after is not None and len(rest) > self.cut_after:
            await response.write(rest[: self.cut_after])
            assert request.transport is not None
            await asyncio.sleep(0.01)
            request.transport.abort()
            return response
        await response.write(rest)
        return response


class Names:
    """A resolver. `known`: the addresses that a host has, one after the other if there are several lists."""

    def __init__(self, **known: list[str]) -> None:
        self.known: dict[str, list[list[str]]] = {name: [each] for name, each in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        lists = self.known.get(host)
        if lists is None:
            raise OSError(f"no such host: {host}")
        return lists.pop(0) if len(lists) > 1 else lists[0]


@dataclass
class Told:
    """Implements artifacts.Notes."""

    events: list[Event] = field(default_factory=list)

    def note(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Rig:
    """A controller's part for packages by their address."""

    artifacts: Artifacts
    images: ImageDirectory
    shelf: Shelf
    names: Names
    events: list[Event]
    provenance: Provenance
    store: MemoryStore
    is_open: bool = False

    async def bring(self, uri: str, version: str = "2.0", by: str = "ann", **wanted: Any) -> Brought:
        if not self.is_open:
            await self.store.open()
            self.is_open = True
        fetch = self.artifacts.begin(Wanted("web", version, uri, **wanted), by)
        return await fetch.task

    async def refused(self, uri: str, version: str = "2.0", **wanted: Any) -> tuple[str, str]:
        with pytest.raises(Refused) as caught:
            await self.bring(uri, version, **wanted)
        assert not list(self.images._root.glob("*.part"))
        return str(caught.value.reason.kind), text_of(caught.value.reason)


Started = Callable[..., Any]


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    made = Shelf(bodies={"/web-2.0.tar.gz": V1})
    async with serving(made, tmp_path) as started:
        yield started


@asynccontextmanager
async def serving(shelf: Shelf, folder: Path, address: str = "127.0.0.1") -> AsyncIterator[Shelf]:

    app = web.Application()
    app.router.add_get("/{path:.*}", shelf.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*AUTHORITY.issue(folder, name="artifacts.example", dns="artifacts.example"))
    site = web.TCPSite(runner, address, 0, ssl_context=context)
    await site.start()
    shelf.port = runner.addresses[0][1]
    try:
        yield shelf
    finally:
        await runner.cleanup()


@pytest.fixture
def start(tmp_path: Path, shelf: Shelf) -> Started:
    (tmp_path / "authority.pem").write_text(AUTHORITY.pem)

    def started(names: Names | None = None, **settings: Any) -> Rig:
        names = names or Names(**{"artifacts.example": ["127.0.0.1"]})
        usual = {"allow": "artifacts.example", "authority": tmp_path / "authority.pem", "seconds": 5.0}
        store, rigged = MemoryStore(), Told()
        images = ImageDirectory(tmp_path / "images", lambda: Instant(0.0))
        provenance = Provenance(store)
        made = artifacts_of(
            ArtifactsSettings(**{**usual, **settings}),
            images,
            store,
            provenance,
            rigged,
            lambda: 0.0,
            names,
        )
        return Rig(made, images, shelf, names, rigged.events, provenance, store)

    return started


async def test_a_package_is_stored_and_the_next_time_only_asked_after(start: Started, shelf: Shelf) -> None:
    rig = start()
    brought = await rig.bring(shelf.url("/web-2.0.tar.gz"))
    assert (brought.digest, brought.is_new) == (sha256(V1), True)
    assert rig.images.path(brought.digest).read_bytes() == V1
    assert [event.kind for event in rig.events] == ["artifact.fetched"]
    assert f"{len(V1):,} bytes" in rig.events[0].text
    again = await rig.bring(shelf.url("/web-2.0.tar.gz"))
    assert (again.digest, again.is_new) == (brought.digest, False)
    assert "If-None-Match" in shelf.asked[-1][1]
    assert "ann" in (await rig.provenance.of(brought.digest)).holders


@pytest.mark.parametrize("etags", [True, False])
async def test_another_body_for_the_same_version_is_refused_and_another_version_is_not(
    start: Started, shelf: Shelf, etags: bool
) -> None:
    rig, url = start(), shelf.url("/web-2.0.tar.gz")
    shelf.etags = etags
    first = await rig.bring(url)
    shelf.bodies["/web-2.0.tar.gz"] = V2
    kind, text = await rig.refused(url)
    assert kind == "artifact-changed"
    assert first.digest in text
    assert sha256(V2) in text
    assert "give what is new a version of its own" in text
    assert rig.images.path(sha256(V2)) is None
    shelf.bodies["/web-2.1.tar.gz"] = V2
    assert (await rig.bring(shelf.url("/web-2.1.tar.gz"), "2.1")).digest == sha256(V2)


async def test_what_was_fetched_can_be_released_while_its_server_is_away(
    start: Started, shelf: Shelf
) -> None:
    rig, url = start(), shelf.url("/web-2.0.tar.gz")
    first = await rig.bring(url)
    shelf.statuses["/web-2.0.tar.gz"] = 503
    assert (await rig.bring(url)).digest == first.digest


async def test_a_digest_that_is_known_must_be_met(start: Started, shelf: Shelf) -> None:
    rig, url = start(), shelf.url("/web-2.0.tar.gz")
    kind, text = await rig.refused(url, digest="0" * 64)
    assert (kind, sha256(V1) in text) == ("artifact-changed/digest", True)
    assert (await rig.bring(url, digest=sha256(V1))).is_new
    asked = len(shelf.asked)
    assert not (await rig.bring(url, digest=sha256(V1))).is_new
    assert len(shelf.asked) == asked  # there is nothing to ask


async def test_a_download_goes_on_where_it_broke_off(start: Started, shelf: Shelf) -> None:
    shelf.cut_after = len(V1) // 3
    assert (await start().bring(shelf.url("/web-2.0.tar.gz"))).digest == sha256(V1)
    assert [asked["Range"] for _, asked in shelf.asked if "Range" in asked]


@pytest.mark.parametrize("has_ranges", [True, False])
async def test_one_that_can_not_go_on_is_refused(start: Started, shelf: Shelf, has_ranges: bool) -> None:
    shelf.cut_after, shelf.etags, shelf.has_ranges = len(V1) // 3, has_ranges is False, has_ranges
    kind, text = await start().refused(shelf.url("/web-2.0.tar.gz"))
    assert (kind, "broke off after" in text) == ("artifact-unreachable", True)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"statuses": {"/web-2.0.tar.gz": 404}}, "artifact-not-found", "check artifact.uri and the version"),
        ({"statuses": {"/web-2.0.tar.gz": 403}}, "artifact-denied", "artifacts.credentials"),
        ({"statuses": {"/web-2.0.tar.gz": 401}}, "artifact-denied", "answered 401"),
        ({"statuses": {"/web-2.0.tar.gz": 500}}, "artifact-unreachable", "answered 500"),
        ({"announces": 3 * 1024**3}, "artifact-too-large", "is larger than 2,147,483,648 bytes"),
        ({"is_silent": True}, "artifact-too-slow", "raise artifacts.seconds"),
        ({"leads": {"/web-2.0.tar.gz": "http://artifacts.example/x"}}, "artifact-redirect", "only https://"),
        ({"leads": {"/web-2.0.tar.gz": "file:///etc/passwd"}}, "artifact-redirect", "redirects to file://"),
        ({"leads": {"/web-2.0.tar.gz": "/web-2.0.tar.gz"}}, "artifact-redirect", "more than 5 times"),
        (
            {"leads": {"/web-2.0.tar.gz": "https://u:p@artifacts.example/x"}},
            "artifact-redirect",
            "redirects to",
        ),
        (
            {"leads": {"/web-2.0.tar.gz": "https://inside.example/x"}},
            "artifact-private",
            "inside.example is 10.0.0.5",
        ),
        ({"leads": {"/web-2.0.tar.gz": "https://169.254.169.254/x"}}, "artifact-private", "169.254.169.254"),
        ({"leads": {"/web-2.0.tar.gz": "https://[::ffff:7f00:1]/x"}}, "artifact-private", "which is private"),
        (
            {"leads": {"/web-2.0.tar.gz": "https://2130706433/x"}},
            "artifact-unreachable",
            "is not a canonical IPv4 address",
        ),
    ],
)
async def test_each_failure_has_a_kind_and_a_remedy(
    start: Started, shelf: Shelf, change: dict[str, Any], kind: str, says: str
) -> None:
    for name, value in change.items():
        setattr(shelf, name, value)
    names = Names(**{"artifacts.example": ["127.0.0.1"], "inside.example": ["10.0.0.5"]})
    rig = start(names, seconds=1.0 if shelf.is_silent else 30.0)
    found, text = await rig.refused(shelf.url("/web-2.0.tar.gz"))
    assert (found, says in text) == (kind, True), text
    assert [event.kind for event in rig.events] == ["artifact.failed"]


async def test_a_host_that_no_one_has_allowed_is_not_even_connected_to(start: Started, shelf: Shelf) -> None:
    """With one public and one private address it is refused, too: which one is taken is not its choice."""
    names = Names(**{"artifacts.example": ["93.184.216.34", "127.0.0.1"]})
    kind, text = await start(names, allow="").refused(shelf.url("/web-2.0.tar.gz"))
    assert (kind, "artifacts.example is 127.0.0.1, which is private" in text) == ("artifact-private", True)
    assert shelf.asked == []


async def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    start: Started, shelf: Shelf
) -> None:
    """A name that has another address the next time gains nothing: there is no next time."""
    names = Names()
    names.known["artifacts.example"] = [["127.0.0.1"], ["169.254.169.254"]]
    await start(names, allow="127.0.0.1").bring(shelf.url("/web-2.0.tar.gz"))
    assert names.asked == ["artifacts.example"]


async def test_a_certificate_of_no_known_authority_is_refused(start: Started, shelf: Shelf) -> None:
    kind, text = await start(authority=None).refused(shelf.url("/web-2.0.tar.gz"))
    assert (kind, "artifacts.authority" in text) == ("artifact-tls", True)
    names = Names(**{"other.example": ["127.0.0.1"]})
    kind, _ = await start(names, allow="other.example").refused(shelf.url("/web-2.0.tar.gz", "other.example"))
    assert kind == "artifact-tls"  # the name in it counts


async def test_a_credential_goes_to_its_host_and_to_no_other_and_for_its_applications_only(
    start: Started, shelf: Shelf, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "password").write_text("s3cret\n")
    names = Names(**{"artifacts.example": ["127.0.0.1"], "mirror.example": ["127.0.0.1"]})
    for credential, shown in (
        ({"token": tmp_path / "token"}, "Bearer t0ken"),
        ({"user": "ci", "password": tmp_path / "password"}, "Basic Y2k6czNjcmV0"),
    ):
        rig = start(names, allow="127.0.0.1", credentials={"artifacts.example": credential})
        shelf.asked.clear()
        await rig.bring(shelf.url("/web-2.0.tar.gz"), shown)
        assert [asked.get("Authorization") for _, asked in shelf.asked] == [shown]
    shelf.leads["/moved"] = shelf.url("/web-2.0.tar.gz", "mirror.example")
    shelf.asked.clear()
    await rig.refused(shelf.url("/moved"))  # its certificate names the other host: TLS is before all else
    assert [path for path, _ in shelf.asked] == ["/moved"]
    other = start(allow="127.0.0.1", credentials={"artifacts.example": {**credential, "apps": ["shop-*"]}})
    shelf.asked.clear()
    await other.bring(shelf.url("/web-2.0.tar.gz"), "other")
    assert [asked.get("Authorization") for _, asked in shelf.asked] == [None]


async def test_a_redirect_to_another_port_gets_no_credential(
    start: Started, shelf: Shelf, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    async with serving(Shelf(bodies={"/x": V1}), tmp_path) as elsewhere:
        shelf.leads["/web-2.0.tar.gz"] = elsewhere.url("/x")
        rig = start(credentials={"artifacts.example": {"token": tmp_path / "token"}})
        await rig.bring(shelf.url("/web-2.0.tar.gz"))
    assert "Authorization" in shelf.asked[0][1]
    assert ["Authorization" in asked for _, asked in elsewhere.asked] == [False]


async def test_proxies_of_the_environment_are_not_used(
    start: Started, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    await start().bring(shelf.url("/web-2.0.tar.gz"))


async def test_its_signature_is_fetched_from_beside_it(start: Started, shelf: Shelf) -> None:
    signature = CI.minisign(V1)
    shelf.bodies["/web-2.0.tar.gz.sig"] = signature.encode()
    shelf.bodies["/elsewhere.minisig"] = b"x" * 70_000
    url = shelf.url("/web-2.0.tar.gz")
    rig = start()
    assert not (await rig.bring(url)).has_signature
    brought = await rig.bring(url, is_signed=True)
    assert (brought.has_signature, (await rig.provenance.of(brought.digest)).offered) == (True, signature)
    kind, _ = await rig.refused(url, signature=shelf.url("/elsewhere.minisig"))
    assert kind == "artifact-too-large"
    kind, _ = await rig.refused(url, signature=shelf.url("/none.minisig"))
    assert kind == "artifact-not-found"
    del shelf.bodies["/web-2.0.tar.gz.sig"]
    shelf.bodies["/web-2.0.tar.gz.sigstore.json"] = b"{}"
    await rig.bring(url, is_signed=True)
    assert (await rig.provenance.of(brought.digest)).offered == "{}"


async def test_what_is_no_package_is_not_kept(start: Started, shelf: Shelf) -> None:
    from repave_controller.fleet.packages import ImageError

    shelf.bodies["/web-2.0.tar.gz"] = b"<html>please log in</html>"
    rig = start()
    with pytest.raises(ImageError, match="is no gzip file"):
        await rig.bring(shelf.url("/web-2.0.tar.gz"))
    assert await rig.artifacts._pin(Wanted("web", "2.0", shelf.url("/web-2.0.tar.gz"))) is None


async def test_so_many_are_fetched_at_once_and_one_that_is_under_way_is_joined(
    start: Started, shelf: Shelf
) -> None:
    shelf.is_silent = True
    rig = start()
    first = rig.artifacts.begin(Wanted("web", "0", shelf.url("/0")), "ann")
    assert rig.artifacts.begin(Wanted("web", "0", shelf.url("/0")), "ben") is first
    for number in range(1, 16):
        rig.artifacts.begin(Wanted("web", str(number), shelf.url(f"/{number}")), "ann")
    with pytest.raises(Refused, match="too-many-fetches"):
        rig.artifacts.begin(Wanted("web", "16", shelf.url("/16")), "ann")
    await rig.artifacts.close()
    assert first.task.cancelled()


def test_nothing_of_a_presigned_address_is_in_a_message() -> None:
    error = OSError("https://store/x?X-Amz-Signature=abc cannot be reached")
    assert "abc" not in fetching._words(error)
