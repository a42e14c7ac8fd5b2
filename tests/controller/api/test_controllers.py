"""What the API tells of the controllers that share the store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from repave_controller.core.domain.reasons import Concern, Reason, reason_of
from repave_controller.peers.company import Company
from repave_controller.peers.ports import SHARDS, Seen
from repave_protos import __version__
from tests.controller.api.conftest import Asked
from tests.fakes.controller.company import A, B, company_of
from tests.fakes.controller.scheduler import served

LIVE = Seen(A, is_live=True, holds_lock=True, lease_left_seconds=1.4)


async def copied_late() -> Sequence[Reason]:
    return [reason_of(Concern.COPIED_LATE, standbys=("s1",))]


def asked(directory: Path, company: Company | None, path: str) -> Any:
    with served(directory, company=company) as controller:
        return Asked(controller.url).get(path).json


def test_a_controller_that_has_the_store_alone_is_one_row(api: Asked) -> None:
    (row,) = api.get("controllers").json["items"]
    assert (row["state"], row["asked"], row["lease_seconds"]) == ("live", True, None)
    assert (len(row["shards"]), row["version"], row["problems"]) == (SHARDS, __version__, [])
    assert row["regions"] == ["oslo", "paris"]


def test_each_controller_is_a_row_with_what_it_decides_for(tmp_path: Path) -> None:
    company = company_of(LIVE, Seen(B, is_live=True, holds_lock=True, lease_left_seconds=0.9))
    answer = asked(tmp_path, company, "controllers")
    first, second = answer["items"]
    assert answer["problems"] == []
    assert (first["name"], first["asked"], first["lease_seconds"]) == ("a", True, 1.4)
    assert (second["name"], second["asked"], second["url"]) == ("b", False, "https://b:7400")
    assert second["shards"] == list(range(1, SHARDS, 2))
    assert first["regions"] == ["oslo", "paris"]
    assert second["since"].startswith("1970-01-01T00:03:20")


@pytest.mark.parametrize(
    ("seen", "state", "said", "in_doctor"),
    [
        (Seen(B, False, True, -2.0), "frozen", "it renews its lease no more", "warn"),
        (Seen(B, False, False, -90.0), "away", "its lease ended 90 s ago: start it again", "fail"),
        (Seen(B, True, None, 1.0), "live", "a pooler keeps no session for it", "warn"),
    ],
)
def test_what_is_wrong_with_one_is_said_there_and_in_doctor(
    tmp_path: Path, seen: Seen, state: str, said: str, in_doctor: str
) -> None:
    company = company_of(LIVE, seen)
    row = asked(tmp_path, company, "controllers")["items"][1]
    assert row["state"] == state
    assert row["problems"][0].startswith(said)
    checks = {each["name"]: each for each in asked(tmp_path, company, "doctor")["items"]}
    assert checks["controller b"]["state"] == in_doctor
    assert "controller a" not in checks


def test_what_is_wrong_with_the_database_is_said_there_and_in_doctor(tmp_path: Path) -> None:
    company = company_of(LIVE, examine=copied_late)
    (problem,) = asked(tmp_path, company, "controllers")["problems"]
    assert problem.startswith("the standby s1 may be behind the primary")
    assert "synchronous_standby_names" in problem
    checks = {each["name"]: each for each in asked(tmp_path, company, "doctor")["items"]}
    assert (checks["database"]["state"], "may be lost" in checks["database"]["text"]) == ("warn", True)


def test_a_store_that_can_not_be_reached_is_said(tmp_path: Path) -> None:
    company = company_of(LIVE, examine=copied_late, trouble="PostgreSQL at db: the connection was refused.")
    (problem,) = asked(tmp_path, company, "controllers")["problems"]
    assert problem.startswith("it decides nothing, for the store can't be reached: PostgreSQL at db")
