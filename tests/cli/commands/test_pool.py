"""repave pool, repave image bake and baked, repave release --baked."""

import json
from dataclasses import replace

import pytest

from repave_cli.commands import bake
from repave_controller.fleet.questions import AgentRefused
from repave_protos.protocol.queries import (
    Bake,
    BakedImage,
    BakeOrder,
    Bakes,
    ChangeMachine,
    Done,
    ListBakes,
    ListMachines,
    Machines,
)
from repave_protos.protocol.values import RegionName
from tests.fakes.controller.api_rig import MACHINE as A_MACHINE
from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController

MACHINE = replace(A_MACHINE, state="quarantined", reason="disk")


@pytest.fixture
def pooled(controller: ServedController) -> ServedController:
    view = controller.sessions.known[RegionName("paris")]
    view.hello = replace(view.hello, provider="ssh_pool")
    controller.sessions.tells["paris", ListMachines] = Machines((MACHINE,))
    return controller


def test_machines_come_as_a_table(repave: CommandLine, pooled: ServedController) -> None:
    ran = repave("pool", "list")
    titles, machine = ran.out.splitlines()
    assert titles.split() == ["REGION", "MACHINE", "STATE", "SINCE", "HOST", "REASON"]
    assert machine.split()[:3] == ["paris", "m1", "quarantined"]
    assert machine.split()[-2:] == ["-", "disk"]
    assert ran.code == 0


@pytest.mark.parametrize("form", ["wide", "json", "jsonl", "yaml", "name"])
def test_machines_come_in_every_format(repave: CommandLine, pooled: ServedController, form: str) -> None:
    assert "m1" in repave("pool", "list", "-o", form).out


def test_without_a_pool_that_is_said(repave: CommandLine) -> None:
    ran = repave("pool", "list")
    assert (ran.code, ran.out, ran.err) == (0, "", "no region has a pool of machines (provider ssh_pool)\n")


def test_a_machine_is_taken_out_with_the_reason(repave: CommandLine, pooled: ServedController) -> None:
    pooled.sessions.tells["paris", ChangeMachine] = Done("m1 is quarantined: it smells")
    ran = repave("pool", "quarantine", "paris", "m1", "--reason", "it smells")
    assert (ran.code, ran.err) == (0, "m1 is quarantined: it smells\n")
    ((region, asked),) = pooled.sessions.questions
    assert isinstance(asked, ChangeMachine)
    assert (region, asked.verb, asked.machine) == ("paris", "quarantine", "m1")
    assert asked.reason.startswith("it smells, ")
    assert json.loads(repave("pool", "return", "paris", "m1", "-o", "json").out) == {
        "text": "m1 is quarantined: it smells"
    }


def test_what_the_region_refuses_is_an_error(repave: CommandLine, pooled: ServedController) -> None:
    pooled.sessions.tells["paris", ChangeMachine] = AgentRefused("no machine is called m9; there are: m1")
    ran = repave("pool", "release", "paris", "m9")
    assert ran.code != 0
    assert "no machine is called m9; there are: m1" in ran.err


# ---------------------------------------------------------------------------------------------------- images


class Cloud:
    """What a region with a cloud tells of images: one is ready after some looks."""

    def __init__(self, controller: ServedController, region: str, error: str = "") -> None:
        self.images: list[BakedImage] = []
        self.bakes: list[Bake] = []
        self.steps = ["the server boots", "its disk becomes an image"]
        self.error = error
        controller.sessions.tells[region, ListBakes] = self.tell
        controller.sessions.tells[region, BakeOrder] = self.bake

    def bake(self, order: BakeOrder) -> Bakes:
        self.bakes = [Bake(order.digest, order.name, "it begins", 1.0)]
        return Bakes(bakes=tuple(self.bakes))

    def tell(self, _: ListBakes) -> Bakes:
        if self.bakes and self.steps:
            self.bakes[0] = replace(self.bakes[0], step=self.steps.pop(0))
        elif self.bakes and self.error:
            self.bakes[0] = replace(self.bakes[0], error=self.error)
        elif self.bakes:
            (made,) = self.bakes
            self.bakes = []
            self.images = [BakedImage("i1", made.name, made.digest, "b1", "", 2.0, is_current=True)]
        return Bakes(tuple(self.images), tuple(self.bakes))


def test_a_bake_shows_its_steps_and_in_the_end_the_image(
    repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bake, "LOOK_SECONDS", 0.0)
    Cloud(controller, "paris")
    ran = repave("image", "bake", "app", "--region", "paris")
    assert ran.code == 0
    assert [line.partition(": ")[2] for line in ran.err.splitlines()] == [
        "the server boots", "its disk becomes an image"
    ]  # fmt: skip
    assert ran.out.splitlines()[1].split()[0] == "paris"
    listed = repave("image", "baked", "--region", "paris", "-o", "name")
    assert listed.out.startswith("app-")


def test_a_release_may_name_the_image_and_regions_without_it_are_named(
    repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bake, "LOOK_SECONDS", 0.0)
    clouds = [Cloud(controller, region) for region in ("paris", "oslo")]
    both = ("--region", "paris", "--region", "oslo")
    assert repave("image", "bake", "app", *both, "--name", "golden").code == 0
    assert repave("release", "--baked", "golden").code == 0
    (digest,) = {each.digest for cloud in clouds for each in cloud.images}
    assert digest[:12] in repave("groups").out
    clouds[1].images.clear()
    ran = repave("release", "--baked", "golden")
    assert (ran.code, "--baked golden: oslo has no usable one: repave image bake" in ran.err) == (2, True)
    ran = repave("plan", "--baked", "silver")
    assert (ran.code, "--baked silver: no region has one; there are: golden" in ran.err) == (
        2,
        True,
    )


def test_a_bake_that_fails_says_why_and_ends_so(
    repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bake, "LOOK_SECONDS", 0.0)
    Cloud(controller, "paris", "No valid host was found")
    ran = repave("image", "bake", "app", "--region", "paris")
    assert (ran.code, "failed: No valid host was found" in ran.err) == (1, True)
    assert repave("image", "bake", "app").code == 2
    controller.sessions.tells["paris", ListBakes] = Bakes()
    assert "was its agent restarted?" in repave("image", "bake", "app", "--region", "paris").err
    assert "no package" in repave("image", "bake", "d" * 64, "--region", "paris").err
    assert "there is no such path" in repave("image", "bake", "nowhere", "--region", "paris").err


def test_all_machines_are_put_back_at_once(repave: CommandLine, pooled: ServedController) -> None:
    pooled.sessions.tells["paris", ChangeMachine] = Done("m1, m2: back")
    assert repave("pool", "return", "paris", "--all").err == "m1, m2: back\n"
    ((_, asked),) = pooled.sessions.questions
    assert isinstance(asked, ChangeMachine)
    assert (asked.verb, asked.machine) == ("return", "")
    for words in ((), ("m1", "--all")):
        assert repave("pool", "return", "paris", *words).code == 2
