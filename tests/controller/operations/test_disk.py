"""What takes the disk, by whom, and when it is nearly full."""

import pytest

from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import Image
from repave_controller.operations.disk import Packed, Room, packed
from repave_protos.protocol.values import ApplicationName, Digest
from tests.fakes.controller.scheduled import an_order

GB = 10**9


@pytest.mark.parametrize(
    ("free", "total", "state"),
    [
        (50, 100, "ok"),
        (9, 100, "ok"),  # a tenth of it would be 10 GB, but 5 are enough
        (4.9, 100, "warn"),
        (0.9, 100, "fail"),
        (0.9, 10, "warn"),  # 2 % of it are 0.2 GB
        (0.1, 10, "fail"),
        (6, 9000, "ok"),
        (0, 0, "ok"),  # not known
    ],
)
def test_a_disk_is_full_by_its_share_or_by_bytes_whichever_is_less(
    free: float, total: float, state: str
) -> None:
    assert Room(int(free * GB), int(total * GB)).state == state


def test_packages_count_for_each_application_that_needs_them_and_the_rest_for_none() -> None:
    sizes = {"a": 5, "b": 70, "c": 900}
    images = [Image(Digest(each * 64), size, 1, "app", Instant(0)) for each, size in sizes.items()]
    applications = [
        Application(ApplicationName(name), name, GroupNumber(1), queue=tuple(map(an_order, digests)))
        for name, digests in (("shop", "ab"), ("cart", "b"), ("idle", ""), ("lost", "d"))
    ]
    assert packed(applications, images) == (Packed("", 1, 900), Packed("shop", 2, 75), Packed("cart", 1, 70))
