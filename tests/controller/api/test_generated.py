"""Requests made from the API's own description, right ones and wrong ones, to all of its routes: none makes
it fail, and what it answers is as described. Minutes of the same: `make fuzz`."""

from pathlib import Path

import pytest

from tests.controller.api.conftest import Asked
from tests.fakes.controller.scheduler import served
from tests.security.generated import faults_of


def check(directory: Path, examples: int, every: int, *, has_accounts: bool) -> None:
    with served(directory, has_accounts=has_accounts, is_enrolling=True) as controller:
        if not has_accounts:
            api = Asked(controller.url)
            api.release()
            api.ended()
        assert faults_of(controller.url, controller.admin, examples, 7, every) == []


def test_what_is_generated_is_answered_as_described(tmp_path: Path) -> None:
    check(tmp_path, 1, 2, has_accounts=False)


def test_so_it_is_where_there_are_accounts(tmp_path: Path) -> None:
    check(tmp_path, 1, 5, has_accounts=True)


@pytest.mark.rig
@pytest.mark.parametrize("has_accounts", [False, True], ids=["local", "accounts"])
def test_much_that_is_generated_is_answered_as_described(tmp_path: Path, has_accounts: bool) -> None:
    check(tmp_path, 10, 1, has_accounts=has_accounts)
