"""Expects that a command is refused, by what people read of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from repave_controller.core.domain.reasons import Refused
from repave_controller.wording.render import text_of


@contextmanager
def refused(match: str = "") -> Iterator[pytest.ExceptionInfo[Refused]]:
    """As pytest.raises, with `match` found in the text of the refusal."""
    with pytest.raises(Refused) as caught:
        yield caught
    text = text_of(caught.value.reason)
    assert re.search(match, text), f"{match!r} is not in {text!r}"
