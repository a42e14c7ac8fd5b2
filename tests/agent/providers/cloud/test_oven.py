"""What becomes of a bake whose cloud does not remove what it is asked to, or makes things twice."""

from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.clients.faults import LostError
from repave_agent.core.ports import ProviderError, RefusedError, TransientError
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud.baking import BakeMarks, BakingMachine, CloudImage, ImageState, Stage
from repave_agent.providers.cloud.first_boot import BAKED
from repave_agent.providers.cloud.oven import AGAIN_SECONDS, Oven
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import BakeOrder
from repave_protos.protocol.values import Digest, RegionName
from tests.fakes.clock import QuickClock


class Cloud:
    """Implements BakingCloud. `refusals`: so many deletions of machines are refused; `lost`: a call whose
    answer is lost; `twice`: an image is made two times."""

    noun = "machine"

    def __init__(self) -> None:
        self.machines_there: dict[str, BakingMachine] = {}
        self.images_there: dict[str, CloudImage] = {}
        self.refusals, self.listings = 0, 0
        self.lost, self.twice = "", False

    async def make(self, marks: BakeMarks, script: str) -> str:
        self.machines_there["m"] = BakingMachine("m", marks.digest, marks.at, Stage.RUNNING)
        self._lose("make")
        return "m"

    async def machines(self) -> list[BakingMachine]:
        self.listings += 1
        return list(self.machines_there.values())

    async def console(self, machine: str, lines: int) -> str:
        return f"{BAKED} {self.machines_there[machine].digest}"

    async def stop(self, machine: str) -> None:
        there = self.machines_there[machine]
        self.machines_there[machine] = BakingMachine("m", there.digest, there.at, Stage.STOPPED)

    async def take(self, machine: str, marks: BakeMarks) -> str:
        for name in ("i", "j") if self.twice else ("i",):
            self.images_there[name] = CloudImage(name, marks, ImageState.WHOLE, True, float(marks.at))
        self._lose("take")
        return "i"

    async def delete_machine(self, machine: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RefusedError("Required permission is missing")
        self.machines_there.pop(machine, None)

    async def images(self) -> list[CloudImage]:
        return list(self.images_there.values())

    async def delete_image(self, image: str) -> None:
        self.images_there.pop(image, None)

    async def sweep(self) -> None:
        """Nothing is left."""

    def _lose(self, call: str) -> None:
        if self.lost == call:
            self.lost = ""
            raise LostError("no answer")


def an_oven(cloud: Cloud, directory: Path) -> tuple[Oven, QuickClock]:
    clock = QuickClock()
    depot = Depot(directory, "127.0.0.1:0")
    return Oven(cloud, depot, RegionName("here"), lambda: "ours", clock), clock


async def test_a_machine_that_could_not_be_removed_is_tried_again_in_a_while_and_not_all_the_time(
    tmp_path: Path, package: Path
) -> None:
    cloud = Cloud()
    oven, clock = an_oven(cloud, tmp_path)
    cloud.refusals = 2
    await oven.bake(BakeOrder(sha256_of(package), "shop-1"), package, "base", lambda _: None)
    assert (list(cloud.machines_there), list(cloud.images_there)) == (["m"], ["i"])
    for _ in range(3):
        await oven.tidy_again()
    listings = cloud.listings
    await oven.tidy_again()
    assert (list(cloud.machines_there), cloud.listings) == (["m"], listings)
    clock.slept += AGAIN_SECONDS
    await oven.tidy_again()
    assert cloud.machines_there == {}


@pytest.mark.parametrize("lost", ["make", "take"])
async def test_what_was_made_by_a_call_without_an_answer_is_found_again_and_made_once(
    tmp_path: Path, package: Path, lost: str
) -> None:
    cloud = Cloud()
    cloud.lost, cloud.twice = lost, True
    oven, _ = an_oven(cloud, tmp_path)
    made = await oven.bake(BakeOrder(sha256_of(package), "shop-1"), package, "base", lambda _: None)
    assert [*cloud.images_there] == [made.image]
    assert cloud.machines_there == {}


async def test_a_machine_that_breaks_or_is_deleted_by_others_ends_the_bake_with_its_words(
    tmp_path: Path, package: Path
) -> None:
    for stage, said, words in (
        (Stage.BROKEN, "is ERROR: no disk", "the machine is ERROR: no disk"),
        (Stage.GONE, "is terminated: Server.InternalError", "is terminated: Server.InternalError"),
        (None, "", "the machine was deleted, and not by repave"),
    ):
        cloud = Broken(stage, said)
        oven, _ = an_oven(cloud, tmp_path)
        with pytest.raises(ProviderError, match=words):
            await oven.bake(BakeOrder(sha256_of(package), "shop-1"), package, "base", lambda _: None)
        assert (cloud.machines_there, cloud.images_there) == ({}, {})


class Mute(Cloud):
    """Does not answer once after the image was seen to be whole."""

    is_seen = False

    async def images(self) -> list[CloudImage]:
        there = await super().images()
        if self.is_seen:
            self.is_seen = False
            raise TransientError("no answer")
        self.is_seen = bool(there)
        return there


async def test_an_image_that_is_whole_stays_when_the_cloud_does_not_answer_then(
    tmp_path: Path, package: Path
) -> None:
    cloud = Mute()
    oven, _ = an_oven(cloud, tmp_path)
    made = await oven.bake(BakeOrder(sha256_of(package), "shop-1"), package, "base", lambda _: None)
    assert [*cloud.images_there] == [made.image]


class Late(Cloud):
    """A bake ends while a listing of its image is on the way."""

    oven: Oven

    async def images(self) -> list[CloudImage]:
        self.oven._under_way.clear()
        return [replace(each, state=ImageState.MAKING) for each in await super().images()]


async def test_an_image_that_was_listed_before_its_bake_ended_stays(tmp_path: Path) -> None:
    cloud, digest = Late(), Digest("sha256:" + "0" * 64)
    cloud.oven, _ = an_oven(cloud, tmp_path)
    marks = BakeMarks("ours", RegionName("here"), digest, "base", "shop-1", "", 1)
    cloud.images_there["i"] = CloudImage("i", marks, ImageState.WHOLE, True, 1.0)
    cloud.oven._under_way.add(digest)
    await cloud.oven.tidy()
    assert [*cloud.images_there] == ["i"]
    await cloud.oven.tidy()
    assert cloud.images_there == {}, "half made, and of no bake that goes on"


class Broken(Cloud):
    """Its machines come to nothing."""

    def __init__(self, stage: Stage | None, said: str) -> None:
        super().__init__()
        self._stage, self._said = stage, said

    async def machines(self) -> list[BakingMachine]:
        there = await super().machines()
        if self._stage is None:
            self.machines_there.clear()
            return []
        return [BakingMachine(each.id, each.digest, each.at, self._stage, self._said) for each in there]
