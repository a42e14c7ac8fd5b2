"""Keeps the certificates of the region's fronts as files that its balancer shows: reads them where they are
kept, again and again; asks an ACME server for new ones in time; tells people of what ends.

There is a file for each front at any time, if only with a placeholder, so that no balancer refuses to start
for the lack of one. The last good one is shown for as long as there is nothing better: also after a restart,
and while the place where it is kept is away.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from repave_agent.certificates.pem import Pem, is_placeholder, placeholder, read_pem
from repave_agent.certificates.reading import CertificateReader
from repave_agent.core.certificates import (
    NO_NAME,
    NOTHING_SAID,
    CertificateError,
    Facts,
    Renewal,
    WantedCertificate,
    ending,
    fault_of,
    gives_way,
    is_due,
)
from repave_agent.core.ports import BalancerError, Clock, NotActingError, ShowsCertificates
from repave_protos.daemon import files
from repave_protos.protocol.values import ApplicationName

log = structlog.get_logger()

TICK_SECONDS = 0.5
LOOK_SECONDS = {"file": 5.0, "directory": 5.0, "vault": 60.0, "acme": 5.0}
"""From one look at where it is kept to the next."""
FIRST_SECONDS_MAX, AGAIN_SECONDS_MAX = 3.0, 0.1
"""For which the others of the region wait for a front that is new; and once it has kept them waiting."""
READINGS_KEPT_SECONDS = 300.0
"""Of fronts that nobody asks for any more."""
RETRY_SECONDS, RETRY_SECONDS_MAX = 60.0, 6 * 3600.0
"""After an ACME server gave none: doubled each time, for it counts what fails."""
FRESH_SECONDS = 6 * 3600.0
"""So long nobody asks when a new one is to be renewed: a server that says at once of each would give them
without end."""
ASK_SECONDS_MIN, ASK_SECONDS_MAX = 300.0, 86_400.0
"""From one such question to the next, whatever the server says."""
SHOW_AGAIN_SECONDS = 5.0
NO_ANSWER = "where it is kept does not answer yet; it goes on being asked"


class Orders(Protocol):
    """An ACME server."""

    async def order(self, names: Sequence[str], challenge: str) -> Pem:
        """Raises CertificateError."""

    async def renewal(self, shown: Pem) -> Renewal:
        """When it would have that one renewed. Says nothing where it can't be asked."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one front. `shown`: what its file holds; None: a placeholder. `trouble`: why that is not what is
    wanted."""

    wanted: WantedCertificate
    shown: Pem | None
    trouble: str = ""
    due_at: float = 0.0
    failures: int = 0
    renewal: Renewal = NOTHING_SAID

    @property
    def facts(self) -> Facts | None:
        return self.shown.facts if self.shown is not None else None


@dataclass(slots=True)
class Reading:
    """Of one for a front that has nothing to show. `is_late`: it has kept others waiting, and does so no
    more; what comes of it is taken at the next chance."""

    wanted: WantedCertificate
    task: asyncio.Task[Pem | CertificateError]
    begun_at: float
    is_late: bool = False

    @property
    def is_of_use(self) -> bool:
        """It has not failed."""
        return not self.task.done() or isinstance(self.task.result(), Pem)


class Keeper:
    """Implements core.certificates.CertificateKeeper, and checkup.Examined. One for an agent."""

    name = "certificates"

    def __init__(
        self,
        folder: Path,
        reader: CertificateReader,
        clock: Clock,
        check: Callable[[], None],
        orders: Callable[[], Orders],
        thumbprint: str = "",
        patience_seconds: float = FIRST_SECONDS_MAX,
    ) -> None:
        """`check` raises NotActingError, before each order. `orders` raises CertificateError: none may be
        asked."""
        self._patience_seconds = patience_seconds
        self.thumbprint, self.folder = thumbprint, str(folder)
        self._folder, self._reader, self._clock = folder, reader, clock
        self._check, self._orders = check, orders
        self._kept: dict[str, Kept] = {}
        self._arranged: frozenset[WantedCertificate] = frozenset()
        self._is_tidy = True
        self._is_unshown = False
        self._show_at = 0.0
        self._trouble = ""
        self._writing, self._taking_up = asyncio.Lock(), asyncio.Lock()
        self.under_way: set[asyncio.Task[None]] = set()
        self._ordered: set[str] = set()  # files that an ACME server is asked for at this moment
        self._looks: dict[str, asyncio.Task[None]] = {}  # under way, by file
        self._readings: dict[str, Reading] = {}  # by file

    # ------------------------------------------------------------------------------- what a balancer asks

    async def fetch(self, wanted: Sequence[WantedCertificate]) -> None:
        now = self._clock.monotonic()
        self._forget_readings({each.file for each in wanted}, now)
        first, again = list[Reading](), list[Reading]()
        for each in wanted:
            if each.reference.source == "acme" or self._has_one(each):
                continue
            known = self._readings.get(each.file)
            is_late = known is not None and known.wanted == each and known.is_late
            if is_late and known is not None and known.is_of_use:
                continue
            begun = Reading(each, asyncio.ensure_future(self._read(each)), now, is_late)
            self._readings[each.file] = begun
            (again if is_late else first).append(begun)
        for readings, seconds in ((first, self._patience_seconds), (again, AGAIN_SECONDS_MAX)):
            if readings:
                await asyncio.wait([each.task for each in readings], timeout=seconds)
            for reading in readings:
                reading.is_late = not reading.task.done()

    async def _read(self, wanted: WantedCertificate) -> Pem | CertificateError:
        try:
            return await self._reader.read(wanted)
        except CertificateError as error:
            return error

    def _has_one(self, wanted: WantedCertificate) -> bool:
        """Whether the front has something to show, if only for the time being."""
        known = self._kept.get(wanted.file)
        if known is None or known.facts is None:
            return False
        return known.wanted == wanted or not fault_of(wanted, known.facts, self._clock.wall())

    def _forget_readings(self, wanted: Set[str], now: float) -> None:
        for file, each in list(self._readings.items()):
            if file not in wanted and now > each.begun_at + READINGS_KEPT_SECONDS:
                each.task.cancel()
                del self._readings[file]

    async def provide(self, wanted: Sequence[WantedCertificate]) -> Mapping[ApplicationName, str]:
        async with self._taking_up:
            self._is_tidy = True
            taken_up = [await self._taken_up(each) for each in wanted]
            self._kept = {each.wanted.file: each for each in taken_up}
        for each in taken_up:
            await self._take_read(each)
        return dict(self._lacks())

    async def _take_read(self, kept: Kept) -> None:
        """What was fetched for it."""
        reading = self._readings.get(kept.wanted.file)
        if reading is None or reading.wanted != kept.wanted or not reading.task.done():
            return
        if reading.is_of_use:
            del self._readings[kept.wanted.file]
        due_at = self._clock.monotonic() + LOOK_SECONDS[kept.wanted.reference.source]
        try:
            await self._note_read(replace(kept, due_at=due_at), reading.task.result())
        except BalancerError as error:  # a full disk
            self._keep(replace(kept, trouble=str(error)))

    async def lacks(self, wanted: Sequence[WantedCertificate]) -> str:
        now = self._clock.wall()
        for each in wanted:
            known = self._kept.get(each.file)
            try:
                if each.reference.source == "acme":
                    self._orders()
                    fault = "" if each.names else NO_NAME
                else:
                    fault = fault_of(each, (await self._reader.read(each)).facts, now)
            except CertificateError as error:
                fault = str(error)
            if fault and (known is None or known.wanted != each or known.shown is None):
                return f"{each}: {fault}"
        return ""

    def arranged(self) -> None:
        self._arranged, self._is_tidy = frozenset(each.wanted for each in self._kept.values()), False

    async def _taken_up(self, wanted: WantedCertificate) -> Kept:
        """What the file holds is shown, whoever put it there: an agent before this one."""
        known = self._kept.get(wanted.file)
        if known is not None:
            return known if known.wanted == wanted else replace(known, wanted=wanted, due_at=0.0, failures=0)
        path = self._folder / wanted.file
        self._is_unshown = True  # an agent before this one may have been cut off before the balancer knew
        try:
            found = read_pem(await asyncio.to_thread(files.read_file, path))
        except (OSError, CertificateError):
            await self._write(path, placeholder(self._clock.wall()))
            return Kept(wanted, None)
        return Kept(wanted, None if is_placeholder(found.facts) else found)

    def _lacks(self) -> Iterator[tuple[ApplicationName, str]]:
        for each in self._kept.values():
            if each.shown is None and each.wanted.reference.source != "acme":
                yield each.wanted.application, f"{each.wanted}: {each.trouble or NO_ANSWER}"

    # ------------------------------------------------------------------------------------ what goes on

    async def run(self, balancer: ShowsCertificates) -> None:
        """Until cancelled."""
        try:
            while True:
                await self.tend(balancer)
                await self._clock.sleep(TICK_SECONDS)
        finally:
            readings = (each.task for each in self._readings.values())
            for task in (*self.under_way, *self._looks.values(), *readings):
                task.cancel()

    async def tend(self, balancer: ShowsCertificates) -> None:
        """Once: each that is due, and what clients are shown."""
        now = self._clock.monotonic()
        self._reap_looks()
        due = [each for each in self._kept.values() if now >= each.due_at and not self._is_busy(each)]
        if due:
            begun = {each.wanted.file: asyncio.ensure_future(self._look(each)) for each in due}
            self._looks |= begun
            await asyncio.wait(begun.values(), timeout=TICK_SECONDS)
            self._reap_looks()
        if self._is_unshown and now >= self._show_at:
            await self._show(balancer)
        async with self._taking_up:  # else a file would go that was just made for a new front
            if not self._is_tidy:
                self._is_tidy = True
                await asyncio.to_thread(self._remove_others, frozenset(self._kept))

    def _is_busy(self, kept: Kept) -> bool:
        """Whether a look at it, or an order, is under way: one that takes long holds up no other."""
        return kept.wanted.file in self._looks or kept.wanted.file in self._ordered

    def _reap_looks(self) -> None:
        for file, look in list(self._looks.items()):
            if look.done():
                del self._looks[file]
                look.result()  # raises what nobody foresaw

    async def _show(self, balancer: ShowsCertificates) -> None:
        self._is_unshown = False
        try:
            await balancer.show_certificates()
        except BalancerError as error:
            self._is_unshown, self._show_at = True, self._clock.monotonic() + SHOW_AGAIN_SECONDS
            self._trouble = f"certificates: the balancer does not take those that are new: {error}"
            log.error("certificates.not_shown", why=str(error))
        else:
            self._trouble = ""

    def _remove_others(self, wanted: frozenset[str]) -> None:
        """Of fronts that the balancer does not have any more."""
        for path in self._folder.glob("*.*.pem"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Of a region that is given up: no key stays on the machine but where it was read from."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _look(self, kept: Kept) -> None:
        try:
            await self._look_at(kept)
        except BalancerError as error:  # a full disk: what is there goes on
            self._keep(replace(kept, trouble=str(error), due_at=self._clock.monotonic() + SHOW_AGAIN_SECONDS))

    async def _look_at(self, kept: Kept) -> None:
        reference = kept.wanted.reference
        if kept.shown is not None and not (self._folder / kept.wanted.file).exists():
            await self._write(self._folder / kept.wanted.file, kept.shown)
        due_at = self._clock.monotonic() + LOOK_SECONDS[reference.source]
        if reference.source == "acme":
            kept = replace(kept, due_at=due_at, renewal=await self._renewal(kept))
            self._keep(kept)
            now = self._clock.wall()
            if kept.wanted in self._arranged and is_due(kept.wanted, kept.facts, now, kept.renewal):
                self._begin_order(kept)
            return
        found = await self._read(kept.wanted)
        await self._note_read(replace(kept, due_at=due_at), found)

    async def _renewal(self, kept: Kept) -> Renewal:
        now = self._clock.wall()
        if kept.shown is None or now < kept.renewal.ask_again_at:
            return kept.renewal
        try:
            said = await self._orders().renewal(kept.shown)
        except CertificateError:  # none may be asked
            return kept.renewal
        again = max(now + ASK_SECONDS_MIN, min(now + ASK_SECONDS_MAX, said.ask_again_at))
        return replace(said, ask_again_at=again)

    async def _note_read(self, kept: Kept, found: Pem | CertificateError) -> None:
        if isinstance(found, CertificateError):
            self._keep(replace(kept, trouble=str(found)))
        else:
            await self._found(kept, found)

    async def _found(self, kept: Kept, found: Pem) -> None:
        """Shows it unless what is shown is better, or it is not wanted any more."""
        if not self._is_wanted(kept):
            return
        now = self._clock.wall()
        is_new = kept.shown is None or kept.shown.digest != found.digest
        trouble = fault_of(kept.wanted, found.facts, now)
        if is_new and gives_way(kept.wanted, kept.facts, found.facts, now):
            await self._write(self._folder / kept.wanted.file, found)
            log.info(
                "certificate.taken",
                application=kept.wanted.application,
                front=kept.wanted.front,
                origin=str(kept.wanted.reference),
                ends_at=found.facts.ends_at,
                fingerprint=found.facts.fingerprint,
            )
            renewal = Renewal(ask_again_at=now + FRESH_SECONDS)
            kept, self._is_unshown = replace(kept, shown=found, renewal=renewal), True
        elif is_new:
            trouble = f"the one that is there now is not shown, the former goes on: {trouble}"
        self._keep(replace(kept, trouble=trouble, failures=0))

    def _keep(self, kept: Kept) -> None:
        """Unless it is not wanted any more, or another one by now."""
        if self._is_wanted(kept):
            known, self._kept[kept.wanted.file] = self._kept[kept.wanted.file], kept
            if kept.trouble and kept.trouble != known.trouble:
                log.error("certificate.trouble", of=str(kept.wanted), why=kept.trouble)

    def _is_wanted(self, kept: Kept) -> bool:
        known = self._kept.get(kept.wanted.file)
        return known is not None and known.wanted == kept.wanted

    async def _write(self, path: Path, pem: Pem) -> None:
        """Raises BalancerError: what a balancer is to show can't be put there."""
        try:
            async with self._writing:
                await asyncio.to_thread(files.make_directory, path.parent)
                await asyncio.to_thread(files.replace, path, pem.text)
        except OSError as error:
            raise BalancerError(
                f"the certificate {path} can't be written: {error.strerror or error}"
            ) from None

    # ------------------------------------------------------------------------------------------- ACME

    def _begin_order(self, kept: Kept) -> None:
        """Beside everything else: it takes seconds, and a server that does not answer much longer."""
        self._keep(replace(kept, due_at=self._clock.monotonic() + RETRY_SECONDS))
        self._ordered.add(kept.wanted.file)
        task = asyncio.ensure_future(self._order(kept))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    async def _order(self, kept: Kept) -> None:
        wanted = kept.wanted
        try:
            self._check()
            found = await self._orders().order(wanted.names, wanted.reference.where)
            now = self._clock.wall()
            if not gives_way(wanted, kept.facts, found.facts, now):
                raise CertificateError(f"what it gave is not shown: {fault_of(wanted, found.facts, now)}")
            await self._found(kept, found)
        except (CertificateError, NotActingError, BalancerError) as error:
            failures = kept.failures + 1
            pause = min(RETRY_SECONDS_MAX, RETRY_SECONDS * 2 ** (failures - 1))
            self._keep(
                replace(
                    kept,
                    failures=failures,
                    due_at=self._clock.monotonic() + pause,
                    trouble=f"{error}; it is asked again in {pause / 60:.0f} min at the latest",
                )
            )
        finally:
            self._ordered.discard(wanted.file)

    # ---------------------------------------------------------------------------------------- what is told

    async def troubles(self) -> list[str]:
        """Implements checkup.Examined."""
        now = self._clock.wall()
        lines = [self._trouble] if self._trouble else []
        for each in self._kept.values():
            is_trouble, end = (
                ending(each.facts, now) if each.facts is not None else (True, "there is none yet")
            )
            told = "; ".join(filter(None, (each.trouble, end)))
            if told:
                note = "" if is_trouble or each.trouble else "note: "
                lines.append(f"{note}{each.wanted}: {told}")
        return lines

    def ends(self) -> list[tuple[tuple[str, str], float]]:
        """Application and front, and when what is shown there ends, as Unix time."""
        return [
            ((each.wanted.application, each.wanted.front), each.facts.ends_at)
            for each in self._kept.values()
            if each.facts is not None
        ]
