"""Agents of the version before this one, and of the one after, with the controller of today.

The previous protocol is kept in tests/protos/previous, with what its agent said. What is sent back is read by
that protocol, so that a field which changed its number or its kind shows here.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc

from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol import wire
from repave_protos.protocol.values import Report, Resync
from tests.fakes.controller.links import (
    PARIS,
    SHOP,
    Controller,
    MemoryLink,
    controlling,
    desired,
    seen,
    settle,
)

PREVIOUS = Path(__file__).parents[2] / "protos" / "previous"
PACKAGE = "repave.fleet.v1"


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> descriptor_pool.DescriptorPool:
    """The messages of the previous protocol."""
    made = tmp_path_factory.mktemp("previous") / "fleet.pb"
    assert protoc.main(["", f"-I{PREVIOUS}", f"--descriptor_set_out={made}", "fleet.proto"]) == 0
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()).file:
        pool.Add(file)
    return pool


def conversation(previous: descriptor_pool.DescriptorPool) -> list[bytes]:
    """What the previous agent said, as its own code put it on the wire."""
    from_agent = message_factory.GetMessageClass(previous.FindMessageTypeByName(f"{PACKAGE}.FromAgent"))
    lines = (PREVIOUS / "agent.jsonl").read_text().splitlines()
    return [
        json_format.ParseDict(json.loads(line), from_agent()).SerializeToString(deterministic=True)
        for line in lines
    ]


@dataclass
class RawLink(MemoryLink):
    """Keeps what it hears as bytes, too."""

    heard_bytes: list[bytes] = field(default_factory=list)

    async def send(self, message: bytes) -> None:
        await super().send(message)
        self.heard_bytes.append(message)


async def connected(controller: Controller, hello: bytes) -> RawLink:
    link = RawLink()
    controller.tasks.append(controller.serve(link))
    link.incoming.put_nowait(hello)
    await settle()
    return link


async def test_the_previous_agent_is_welcome_reports_and_answers(
    previous: descriptor_pool.DescriptorPool,
) -> None:
    hello, *said, answer = conversation(previous)
    async with controlling() as controller:
        controller.wanted[PARIS] = [desired(4)]
        link = await connected(controller, hello)
        for message in said:
            link.incoming.put_nowait(message)
            await settle()
        (group,) = controller.view.observations.applications[SHOP].groups
        assert (group.verified, group.weight_bp, group.worn[0].why) == (3, 10_000, "age")
        assert len(controller.noticed) == 1
        task = asyncio.ensure_future(controller.sessions.query(PARIS, SHOP))
        await settle()
        link.incoming.put_nowait(answer)
        (host,) = await task
        assert host.host == "shop-v001-1"
        assert not link.is_closed


async def test_the_previous_agent_reads_what_is_sent_and_none_of_it_is_asked_for_twice(
    previous: descriptor_pool.DescriptorPool,
) -> None:
    hello, *said, _ = conversation(previous)
    from_controller = message_factory.GetMessageClass(
        previous.FindMessageTypeByName(f"{PACKAGE}.FromController")
    )
    async with controlling() as controller:
        controller.wanted[PARIS] = [desired(4)]
        link = await connected(controller, hello)
        for message in said:
            link.incoming.put_nowait(message)
        await settle()
        kinds = []
        for message in link.heard_bytes:
            read: Any = from_controller.FromString(message)
            kinds.append(read.WhichOneof("message"))
            assert read.WhichOneof("message") is not None, "a message that it does not know"
        assert kinds[:2] == ["welcome", "desired"]
        assert kinds.count("resync") <= 1


def test_nothing_of_the_previous_protocol_has_changed_its_number_or_kind(
    previous: descriptor_pool.DescriptorPool,
) -> None:
    file = previous.FindFileByName("fleet.proto")
    wrong = []
    for name, message in file.message_types_by_name.items():
        now = pb.DESCRIPTOR.message_types_by_name.get(name)
        if now is None:
            wrong.append(f"{name} is gone")
            continue
        for was in message.fields:
            is_now = now.fields_by_number.get(was.number)
            if is_now is None or (is_now.name, is_now.type) != (was.name, was.type):
                wrong.append(f"{name}.{was.name} = {was.number}")
    for name, enum in file.enum_types_by_name.items():
        values = pb.DESCRIPTOR.enum_types_by_name[name].values_by_number
        wrong += [
            f"{name}.{value.name}"
            for value in enum.values
            if value.number not in values or values[value.number].name != value.name
        ]
    assert wrong == []


# --------------------------------------------------------------------------------------- of a later version


def later(change: Callable[[pb.FromAgent], None], report: Report) -> bytes:
    message = pb.FromAgent.FromString(wire.encode_from_agent(report))
    change(message)
    return message.SerializeToString()


def with_an_unknown_wear(message: pb.FromAgent) -> None:
    group = message.report.applications[0].groups[0]
    group.worn.add(host="h-1", why=99, text="it is tired")


def with_an_unknown_field(message: pb.FromAgent) -> None:
    unknown = bytes([0xFA, 0x3F, 1, 0x78])  # field 1023: "x"
    message.report.applications[0].groups[0].MergeFromString(unknown)


@pytest.mark.parametrize("change", [with_an_unknown_wear, with_an_unknown_field])
async def test_what_a_later_agent_says_beyond_this_version_costs_neither_the_stream_nor_the_rest(
    change: Callable[[pb.FromAgent], None],
) -> None:
    async with controlling() as controller:
        link = await controller.connect()
        for sequence, verified in ((1, 2), (2, 3), (3, 4)):
            report = Report(sequence, sequence == 1, (seen(SHOP, verified),), "0" * 16)
            link.incoming.put_nowait(later(change, report))
            await settle()
        assert not link.is_closed
        group = controller.view.observations.applications[SHOP].groups[0]
        assert group.verified == 4
        assert [worn.why for worn in group.worn] in ([], ["unknown"])


async def test_an_agent_that_counts_otherwise_is_asked_for_everything_once_and_not_again() -> None:
    """Its reports have fields that this version leaves out, so that the digests never agree."""
    async with controlling() as controller:
        link = await controller.connect()
        for sequence in range(1, 20, 2):
            link.say(Report(sequence, False, (seen(SHOP, sequence),), "0" * 16))
            await settle()
            if link.heard[-1] == Resync():
                link.say(Report(sequence + 1, True, (seen(SHOP, sequence),), "0" * 16))
                await settle()
        assert link.heard.count(Resync()) == 1
        assert controller.view.observations.applications[SHOP] == seen(SHOP, 19)
