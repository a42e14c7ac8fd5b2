"""Each scenario happens as its transcript says. `python -m tests.scenarios.test_scenarios` writes them."""

from pathlib import Path

import pytest

from tests.scenarios.plays import PLAYS, title_of

FOLDER = Path(__file__).parent


def transcript(name: str) -> str:
    made = PLAYS[name]
    return made(title_of(made)).transcript()


@pytest.mark.parametrize("name", sorted(PLAYS))
def test_it_happens_as_the_transcript_says(name: str) -> None:
    written = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert transcript(name) == written


def test_every_transcript_has_its_scenario() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(PLAYS)


if __name__ == "__main__":
    for each in sorted(PLAYS):
        (FOLDER / f"{each}.txt").write_text(transcript(each), encoding="utf-8")
