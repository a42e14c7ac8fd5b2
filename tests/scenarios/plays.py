"""The scenarios: what is released, what goes wrong, what people do. Each makes a transcript named after it.

The docstring is the transcript's title; "ask N" is the number of what users of other tools have asked for.
"""

from tests.scenarios import (  # noqa: F401  # each play registers itself
    plays_of_adoptions,
    plays_of_failures,
    plays_of_people,
    plays_of_rollbacks,
    plays_of_strategies,
    plays_of_waves,
)
from tests.scenarios.stage import PLAYS as PLAYS
from tests.scenarios.stage import title_of as title_of
