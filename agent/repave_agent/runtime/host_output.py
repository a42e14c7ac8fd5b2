"""Reads what hosts print, for people: on after a cursor, so that who reads slowly is sent less often.

Each answer is bounded, whatever hosts print; what is left comes with the next question. Of a provider that
has only the last lines of a host, what is new is found by the lines that were read before.
"""

import asyncio
import hashlib
from collections.abc import Iterator

from repave_agent.core.host_records import Record
from repave_agent.core.ports import LogPiece, Provider, ProviderError, ReadLog
from repave_agent.core.region import Region
from repave_agent.runtime.kept_logs import KeptLogs
from repave_protos.protocol.bounds import TEXT_LENGTH_MAX
from repave_protos.protocol.queries import HostOutput, Output, ReadOutput
from repave_protos.protocol.values import GroupName, HostName, is_job_host

HOSTS_MAX = 50
ANSWER_BYTES_MAX = 512 * 1024
READ_SECONDS = 10.0
OVERLAP_LINES = 10
TAIL_LINES = 500
NO_LOG = "it was adopted: what it prints is where it was kept before"


def by_tail(provider: Provider) -> ReadLog:
    """Reads on where a provider has `log_tail` alone."""

    async def read(host: HostName, after: str, lines: int, bytes_max: int) -> LogPiece:
        text = await provider.log_tail(host, TAIL_LINES if after else lines)
        return following(text.splitlines(), after)

    return read


def following(lines: list[str], after: str) -> LogPiece:
    """The lines behind those that the cursor stands for; all, and cut, where these are not among them."""
    if not lines:
        return LogPiece("", after)
    ends = range(len(lines), 0, -1)
    end = next((each for each in ends if after and _mark(lines[:each], after) == after), 0)
    size = min(OVERLAP_LINES, len(lines))
    cursor = f"{size}:{_hash(lines[-size:])}"
    new = lines[end:]
    return LogPiece("".join(f"{line}\n" for line in new), cursor, is_cut=bool(after) and end == 0)


def _mark(lines: list[str], after: str) -> str:
    size = int(after.partition(":")[0] or 0)
    return f"{size}:{_hash(lines[-size:])}" if 0 < size <= len(lines) else ""


def _hash(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:32]


class HostOutputs:
    """One for a region."""

    def __init__(self, region: Region, read: ReadLog, kept: KeptLogs | None) -> None:
        self._region, self._read, self._kept = region, read, kept

    async def answer(self, question: ReadOutput) -> Output:
        records = sorted(self._chosen(question))
        chosen = records[:HOSTS_MAX]
        share = min(TEXT_LENGTH_MAX, ANSWER_BYTES_MAX // max(1, len(chosen)))
        cursors = dict(question.cursors)
        outputs = await asyncio.gather(
            *(self._of(*each, cursors.get(each[0], ""), question.lines, share) for each in chosen)
        )
        gone = await asyncio.to_thread(self._gone, question, share) if question.with_gone else []
        known = {name for name, _ in records}
        room = HOSTS_MAX - len(outputs)
        gone = [each for each in gone if each.host not in known and _may_show(each.host, question)]
        left_out = len(records) - len(chosen) + max(0, len(gone) - room)
        return Output((*outputs, *gone[:room]), left_out)

    def _chosen(self, question: ReadOutput) -> Iterator[tuple[HostName, GroupName]]:
        """Hosts that are there, and their groups."""
        for record in self._region.records.values():
            if _is_chosen(record, question) and not record.is_launching:
                yield record.name, record.group
        for job in self._region.jobs.records.values():
            if job.host == question.host and job.application == question.application and not job.is_gone:
                yield job.host, job.group

    async def _of(
        self, name: HostName, group: GroupName, after: str, lines: int, bytes_max: int
    ) -> HostOutput:
        known = self._region.records.get(name)
        if known is not None and known.is_adopted:
            return HostOutput(name, group, cursor=after, trouble=NO_LOG)
        try:
            async with asyncio.timeout(READ_SECONDS):
                piece = await self._read(name, after, lines, bytes_max)
        except TimeoutError:
            return HostOutput(name, group, cursor=after, trouble=f"no answer within {READ_SECONDS:g} s")
        except (ProviderError, ValueError, OSError) as error:  # cursors come from clients
            return HostOutput(name, group, cursor=after, trouble=str(error))
        return HostOutput(name, group, piece.text, piece.cursor, is_cut=piece.is_cut)

    def _gone(self, question: ReadOutput, bytes_max: int) -> list[HostOutput]:
        if self._kept is None:
            return []
        return self._kept.read(question.application, question.group, question.host, question.lines, bytes_max)


def _may_show(host: HostName, question: ReadOutput) -> bool:
    """What jobs have printed is shown to who asks for it."""
    return not is_job_host(host) or host == question.host


def _is_chosen(record: Record, question: ReadOutput) -> bool:
    return (
        record.application == question.application
        and question.group in ("", record.group)
        and question.host in ("", record.name)
    )
