"""`make fuzz`: each boundary for minutes, with other draws each time. A failure prints what was drawn."""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fakes.controller.asking import Asking
from tests.fakes.controller.scheduler import served
from tests.security.boundaries import BOUNDARIES, is_answered, requests_of
from tests.security.generated import faults_of

ROUND = 500
OF_EACH = 10
"""Requests of each operation in a round."""


def rounds(
    name: str, given_: st.SearchStrategy[object], check: Callable[[object], None], minutes: float
) -> bool:
    """Whether all held."""
    began, drawn = time.monotonic(), 0

    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=True,
    )
    @given(given_)
    def holds(value: object) -> None:
        nonlocal drawn
        drawn += 1
        check(value)

    try:
        while time.monotonic() - began < minutes * 60:
            holds()
    except Exception as error:
        print(f"{name}: after {drawn} examples: {error!r}", *getattr(error, "__notes__", ()), sep="\n")
        return False
    print(f"{name}: {drawn:,} examples in {time.monotonic() - began:.0f} s, all held", flush=True)
    return True


def _faults(directory: Path, *, has_accounts: bool) -> list[str]:
    with served(directory, has_accounts=has_accounts) as api:
        return faults_of(api.url, api.admin, OF_EACH, random.randrange(1 << 30))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of each boundary")
    parser.add_argument("--only", default="", help="boundaries whose names have this in them")
    chosen = parser.parse_args()
    held = [
        rounds(name, each.given, each.check, chosen.minutes)
        for name, each in BOUNDARIES.items()
        if chosen.only in name
    ]
    if chosen.only in "the HTTP API":
        with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as controller:
            api = Asking(controller.url)
            requests = requests_of(api.get("openapi.json").json)
            held.append(
                rounds("the HTTP API", requests, lambda drawn: is_answered(api, drawn), chosen.minutes)  # type: ignore[arg-type]
            )
    if chosen.only in "the API's description":
        held.append(generated(chosen.minutes))
    return 0 if held and all(held) else 1


def generated(minutes: float) -> bool:
    """Requests from the API's description, with accounts and without; whether all were answered so."""
    began, asked = time.monotonic(), 0
    while time.monotonic() - began < minutes * 60:
        with tempfile.TemporaryDirectory() as folder:
            faults = _faults(Path(folder), has_accounts=bool(asked % 2))
        asked += 1
        if faults:
            print("the API's description:", *faults, sep="\n")
            return False
    print(f"the API's description: {asked} rounds in {time.monotonic() - began:.0f} s, all held", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
