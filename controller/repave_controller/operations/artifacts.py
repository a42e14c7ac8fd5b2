"""Brings packages that a spec names by their address into the controller's store, and holds each version to
what it was at first: another body under the same address and version is refused."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Record, Store, Transaction
from repave_controller.fleet.fetching import Fault, Fetched, Fetcher, FetchError, Lookup, Place, look_up
from repave_controller.fleet.packages import (
    IMAGE_BYTES_MAX,
    NAME_LENGTH_MAX,
    ImageDirectory,
    OtherImageError,
)
from repave_controller.operations.containers import in_one, package_of
from repave_controller.operations.sources import Sources
from repave_controller.security.addresses import allowed_of
from repave_controller.security.provenance import Provenance
from repave_controller.settings import ArtifactsSettings
from repave_controller.spec.places import IMAGE
from repave_protos.package.bundles import BUNDLE_LENGTH_MAX
from repave_protos.package.signing import SUFFIXES
from repave_protos.protocol.values import Digest, short_digest

log = structlog.get_logger()

KIND = "artifact"
FETCHES_MAX = 16
FINISHED_KEPT_MAX = 100

REFUSALS: dict[Fault, Refusal] = {
    Fault.NOT_FOUND: Refusal.ARTIFACT_NOT_FOUND,
    Fault.DENIED: Refusal.ARTIFACT_DENIED,
    Fault.TOO_LARGE: Refusal.ARTIFACT_TOO_LARGE,
    Fault.TOO_SLOW: Refusal.ARTIFACT_TOO_SLOW,
    Fault.UNREACHABLE: Refusal.ARTIFACT_UNREACHABLE,
    Fault.TLS: Refusal.ARTIFACT_TLS,
    Fault.PRIVATE: Refusal.ARTIFACT_PRIVATE,
    Fault.REDIRECT: Refusal.ARTIFACT_REDIRECT,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A package by its address. `digest`: what it must be, if that is known. `signature`: where its signature
    is; "": beside it, if `is_signed`."""

    application: str
    version: str
    uri: str
    digest: str = ""
    signature: str = ""
    is_signed: bool = False

    @property
    def id(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:24]

    @property
    def pin(self) -> str:
        """What is held to its first body; the package of an image serves every version."""
        if self.uri.startswith(IMAGE):
            return f"{self.application} {self.uri}"
        return f"{self.application} {self.version} {self.uri}"


@dataclass(frozen=True, slots=True)
class Brought:
    """It is stored."""

    digest: Digest
    has_signature: bool = False
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Pin:
    """What came first."""

    digest: Digest
    etag: str = ""


class Notes(Protocol):
    """Where it is told what happened."""

    def note(self, event: Event) -> None: ...


@dataclass(slots=True)
class Fetch:
    """One that is under way, or has ended."""

    wanted: Wanted
    task: asyncio.Task[Brought]
    told: Fetched = field(default_factory=Fetched)


class Artifacts:
    """One for a controller."""

    def __init__(
        self,
        sources: Sources,
        fetcher: Fetcher,
        images: ImageDirectory,
        store: Store,
        provenance: Provenance,
        notes: Notes,
    ) -> None:
        self._sources, self._fetcher, self._images, self._store = sources, fetcher, images, store
        self._provenance, self._notes = provenance, notes
        self._fetches: dict[str, Fetch] = {}

    def begin(self, wanted: Wanted, by: str) -> Fetch:
        """Starts it, or joins one that is under way. Raises Refused."""
        known = self._fetches.get(wanted.id)
        if known is not None and not known.task.done():
            return known
        if sum(not each.task.done() for each in self._fetches.values()) >= FETCHES_MAX:
            raise Refused(Refusal.TOO_MANY_FETCHES, most=FETCHES_MAX)
        for id, each in list(self._fetches.items())[: -FINISHED_KEPT_MAX or None]:
            if each.task.done():
                del self._fetches[id]
        told = Fetched()
        task = asyncio.create_task(self._bring(wanted, told, by), name=f"fetch {wanted.application}")
        task.add_done_callback(_seen)
        self._fetches[wanted.id] = Fetch(wanted, task, told)
        return self._fetches[wanted.id]

    def find(self, application: str, id: str) -> Fetch | None:
        found = self._fetches.get(id)
        return found if found is not None and found.wanted.application == application else None

    async def direct(self, digest: Digest) -> str:
        """Where agents can fetch it from its store, for a while; "": from here. Raises StoreError."""
        if where := await self._images.direct(digest):
            return where
        for each in await self._store.records(KIND):
            raw = json.loads(each.state) if each.state is not None else {}
            uri = str(raw.get("uri", ""))
            if raw.get("digest") == digest and self._sources.is_direct(uri):
                with contextlib.suppress(Refused):  # the settings have changed, or a file is gone
                    return str(self._sources.place(uri, each.name.partition(" ")[0]).url)
        return ""

    async def close(self) -> None:
        """Those under way end, and leave nothing."""
        tasks = [each.task for each in self._fetches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _bring(self, wanted: Wanted, told: Fetched, by: str) -> Brought:
        try:
            brought = await self._package(wanted, told, by)
            signature = await self._signature(wanted)
            await self._provenance.offer_signature(brought.digest, signature)
            return Brought(brought.digest, bool(signature), brought.is_new)
        except Refused as refused:
            facts = dict(refused.reason.facts)
            text = f"{wanted.uri} could not be fetched: {facts.get('why', refused.rule)}"
            self._notes.note(Event("artifact.failed", text, wanted.application, by=by))
            raise

    async def _container(self, wanted: Wanted, told: Fetched, by: str) -> Brought:
        """The package that runs an image. One of an earlier version of repave holds while it is stored."""
        pin = await self._pin(wanted)
        if pin is not None and await self._images.bring(pin.digest) is not None:
            return Brought(pin.digest, is_new=False)
        image = wanted.uri.removeprefix(IMAGE)
        package = await asyncio.to_thread(package_of, image)
        told.received_bytes = told.total_bytes = len(package)
        stored = await self._images.receive(in_one(package), image[:NAME_LENGTH_MAX])
        await self._store.add_image(stored)
        await self._save_pin(wanted, Pin(stored.digest))
        await self._provenance.add_holder(stored.digest, by)
        return Brought(stored.digest)

    async def _package(self, wanted: Wanted, told: Fetched, by: str) -> Brought:
        if wanted.uri.startswith(IMAGE):
            return await self._container(wanted, told, by)
        pin = await self._pin(wanted)
        if pin is not None and wanted.digest not in ("", pin.digest):
            raise _changed(wanted, pin.digest, wanted.digest)
        digest = Digest(wanted.digest) if wanted.digest else pin.digest if pin is not None else None
        is_stored = digest is not None and await self._images.bring(digest) is not None
        if digest is not None and is_stored and (wanted.digest or pin is None):
            return Brought(digest, is_new=False)
        place = self._sources.place(wanted.uri, wanted.application)
        unless = pin.etag if pin is not None and is_stored else ""
        try:
            found = await self._download(place, wanted, told, digest, unless)
        except Refused as refused:
            if digest is None or not is_stored or refused.reason.kind is Refusal.ARTIFACT_CHANGED:
                raise
            log.warning("artifact.kept", uri=wanted.uri, digest=digest, because=str(refused))
            return Brought(digest, is_new=False)  # it was fetched before, and is still here
        if found is None:
            assert digest is not None
            return Brought(digest, is_new=False)
        await self._save_pin(wanted, Pin(found, told.etag))
        await self._provenance.add_holder(found, by)
        text = f"{short_digest(found)} from {wanted.uri}, {told.received_bytes:,} bytes"
        if not is_stored:
            self._notes.note(Event("artifact.fetched", text, wanted.application, by=by))
        return Brought(found, is_new=not is_stored)

    async def _download(
        self, place: Place, wanted: Wanted, told: Fetched, digest: Digest | None, unless: str
    ) -> Digest | None:
        """None: the server says that it is unchanged. Raises Refused."""
        first: list[bytes] = []
        try:
            async with aclosing(self._fetcher.chunks(place, told, unless)) as chunks:
                async for chunk in chunks:
                    first.append(chunk)
                    break
                if told.is_unchanged:
                    return None
                name = wanted.uri.rpartition("/")[2].partition("?")[0][:200] or wanted.application
                image = await self._images.receive(_all(first, chunks), name, digest)
        except FetchError as error:
            raise Refused(REFUSALS[error.fault], uri=wanted.uri, why=str(error)) from None
        except OtherImageError as error:
            raise _changed(wanted, digest or "", error.found) from None
        await self._store.add_image(image)
        return image.digest

    async def _signature(self, wanted: Wanted) -> str:
        """Raises Refused where one is named that can't be had."""
        if wanted.signature:
            return await self._text(wanted.signature, wanted.application)
        is_signed = wanted.is_signed and not wanted.uri.startswith(IMAGE)
        for suffix in SUFFIXES if is_signed else ():
            try:
                return await self._text(_beside(wanted.uri, suffix), wanted.application)
            except Refused as refused:
                if refused.reason.kind not in (Refusal.ARTIFACT_NOT_FOUND, Refusal.ARTIFACT_DENIED):
                    raise
        return ""

    async def _text(self, uri: str, application: str) -> str:
        try:
            return await self._fetcher.text(self._sources.place(uri, application), BUNDLE_LENGTH_MAX)
        except FetchError as error:
            raise Refused(REFUSALS[error.fault], uri=uri, why=str(error)) from None

    async def _pin(self, wanted: Wanted) -> Pin | None:
        for each in await self._store.records(KIND):
            if each.name == wanted.pin and each.state is not None:
                raw = json.loads(each.state)
                return Pin(Digest(raw["digest"]), str(raw.get("etag", "")))
        return None

    async def _save_pin(self, wanted: Wanted, pin: Pin) -> None:
        state = json.dumps({"digest": pin.digest, "etag": pin.etag, "uri": wanted.uri})
        await self._store.commit(Transaction(records=(Record(KIND, wanted.pin, state),)))


def artifacts_of(
    settings: ArtifactsSettings,
    images: ImageDirectory,
    store: Store,
    provenance: Provenance,
    notes: Notes,
    wall: Callable[[], float],
    lookup: Lookup = look_up,
) -> Artifacts:
    """As settings have it. Raises OSError for the authority's file, ValueError when it is none."""
    fetcher = Fetcher(
        allowed_of(settings.allow),
        bytes_max=IMAGE_BYTES_MAX,
        seconds_max=settings.seconds,
        clock=wall,
        authorities=settings.authority.read_text() if settings.authority is not None else "",
        proxy=settings.proxy,
        lookup=lookup,
    )
    return Artifacts(Sources(settings, wall), fetcher, images, store, provenance, notes)


async def _all(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk


def _beside(uri: str, suffix: str) -> str:
    path, question, query = uri.partition("?")
    return f"{path}{suffix}{question}{query}"


def _changed(wanted: Wanted, expected: str, found: str) -> Refused:
    kind = Refusal.ARTIFACT_OTHER if wanted.digest else Refusal.ARTIFACT_CHANGED
    return Refused(kind, uri=wanted.uri, version=wanted.version, expected=expected, found=found)


def _seen(task: asyncio.Task[Brought]) -> None:
    """So that one that no client waits for ends quietly."""
    if not task.cancelled():
        task.exception()
