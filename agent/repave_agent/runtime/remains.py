"""What is kept of hosts that failed and are gone: why, and the last lines of their logs. For people.

A few hosts of each group, the worst and newest ones, in one bounded file; nothing is decided by it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog
from pydantic import TypeAdapter

from repave_agent.core.host_records import Record
from repave_agent.core.jobs import JobRecord
from repave_agent.runtime.host_details import detail_of
from repave_protos.daemon.files import read_file
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostDetail, HostName, HostPhase

log = structlog.get_logger()

LOG_LINES = 100
LOG_CHARACTERS_MAX = 8_000
OF_A_GROUP_MAX = 3
HOSTS_MAX = 100
RANKS = (HostPhase.STARTING, HostPhase.UNHEALTHY, HostPhase.FAILED)
"""In which phases hosts end whose logs are worth keeping, the worst last."""


@dataclass(frozen=True, slots=True)
class Remain:
    """What is left of one host."""

    host: HostName
    group: GroupName
    application: ApplicationName
    digest: Digest
    address: str
    port: int
    phase: HostPhase  # in which its end was begun
    trouble: str
    age_seconds: float
    gone_at: float  # Unix time
    log_tail: str = ""

    @property
    def name(self) -> HostName:
        return self.host

    @property
    def rank(self) -> tuple[int, float]:
        return RANKS.index(self.phase), self.gone_at

    def detail(self, log_lines: int) -> HostDetail:
        tail = "\n".join(self.log_tail.splitlines()[-log_lines:]) if log_lines else ""
        return detail_of(
            self, self.phase, self.trouble, self.age_seconds, log_tail=tail, gone_at=self.gone_at
        )


_ALL = TypeAdapter(list[Remain])


def remain_of(record: Record, now: float) -> Remain | None:
    """Of a host whose end begins now; None of one that was well, or never ran."""
    phase, trouble = record.judgement.phase, record.judgement.trouble
    if record.failure:
        phase, trouble = HostPhase.FAILED, record.failure
    if phase not in RANKS or not record.address:
        return None
    age = max(0.0, now - record.made_at)
    return Remain(
        host=record.name,
        group=record.group,
        application=record.application,
        digest=record.digest,
        address=record.address,
        port=record.port,
        phase=phase,
        trouble=trouble,
        age_seconds=age,
        gone_at=record.launch_time + age,
    )


def remain_of_job(record: JobRecord) -> Remain:
    """As which its output is kept."""
    failed = HostPhase.FAILED
    return Remain(
        record.host, record.group, record.application, record.digest, "", 0, failed, record.text, 0.0, 0.0
    )


@dataclass(slots=True)
class Remains:
    """`file` is None where nothing outlives the agent."""

    file: Path | None = None
    kept: dict[HostName, Remain] = field(default_factory=dict)

    def recall(self) -> None:
        """What can't be read is lost, and is not missed."""
        if self.file is None:
            return
        try:
            found = _ALL.validate_json(read_file(self.file))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("remains.not_read", file=str(self.file), why=str(error))
            return
        self.kept = {each.host: each for each in found}

    def keep(self, remain: Remain) -> None:
        self.kept[remain.host] = remain
        alike = sorted(self._of(remain.application, remain.group), key=lambda each: each.rank)
        for each in alike[:-OF_A_GROUP_MAX]:
            del self.kept[each.host]
        oldest = sorted(self.kept.values(), key=lambda each: each.gone_at)
        for each in oldest[:-HOSTS_MAX]:
            del self.kept[each.host]
        self._save()

    def details(self, application: ApplicationName, group: str, log_lines: int) -> list[HostDetail]:
        """The newest ones first."""
        chosen = sorted(self._of(application, group), key=lambda each: -each.gone_at)
        return [each.detail(log_lines) for each in chosen]

    def _of(self, application: ApplicationName, group: str) -> Iterator[Remain]:
        return (
            each
            for each in self.kept.values()
            if each.application == application and group in ("", each.group)
        )

    def _save(self) -> None:
        if self.file is None:
            return
        part = self.file.with_suffix(".part")
        try:
            target = os.open(
                part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            with open(target, "w", encoding="utf-8") as written:
                json.dump([asdict(each) for each in self.kept.values()], written)
            part.replace(self.file)
        except OSError as error:
            log.warning("remains.not_written", file=str(self.file), why=str(error))
