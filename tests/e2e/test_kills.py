"""kill -9 of the controller and of an agent at every step of a release: it ends as it would have, and no host
is lost, doubled or left behind.

Both at once is the harder case of the two, and part of `make test`; one alone is part of `make test-rigs`.
"""

from collections.abc import Callable

import pytest

from tests.support.faults import Moment
from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MOMENTS = (
    ("release.started", ""),
    ("host.launched", ""),
    ("step.entered", "verify"),
    ("step.entered", "weight"),
    ("traffic.moved", ""),
    ("step.entered", "soak"),
    ("release.succeeded", ""),
    ("group.retiring", ""),
)


def controller_killed(stage: Stage) -> None:
    stage.kill_controller()
    stage.start_controller()


def agent_killed(stage: Stage) -> None:
    stage.kill_agent("paris")
    stage.start_agent("paris")


def both_killed(stage: Stage) -> None:
    stage.kill_controller()
    stage.kill_agent("paris")
    stage.start_agent("paris")
    stage.start_controller()


@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(controller_killed, marks=pytest.mark.rig),
        pytest.param(agent_killed, marks=pytest.mark.rig),
        both_killed,
    ],
)
def test_a_release_survives_a_kill_at_every_step(stage: Stage, kill: Callable[[Stage], None]) -> None:
    stage.release("v1", keep="0s", warm="0s", drain="1s")
    assert stage.ended()["phase"] == "succeeded"
    for number, (kind, word) in enumerate(MOMENTS, start=2):
        when = f"{kind} {word}".strip()
        moment = Moment(stage, kind, word)
        # What is kept of the old group ends at once, so that its retirement is a step like the others.
        stage.release(f"v{number}", keep="0s", warm="0s", drain="1s")
        moment.wait()
        kill(stage)
        assert stage.ended()["phase"] == "succeeded", (when, stage.rollout()["outcome"])
        check_converged(stage, number, when)


def check_converged(stage: Stage, number: int, when: str) -> None:
    """Exactly the new fleet in each region, with all the traffic; nothing else is left."""
    group = f"hello-v{number:03d}"

    def is_converged() -> bool:
        hosts = stage.hosts()
        names = [name for each in hosts.values() for name in each]
        return (
            all(len(each) == 2 for each in hosts.values())
            and all(name.startswith(f"{group}-") for name in names)
            and stage.weights() == {region: {group: 10_000} for region in stage.regions}
            and [each["name"] for each in stage.get("groups")["items"]] == [group]
        )

    stage.wait(is_converged, f"after a kill at {when}: {stage.hosts()}")
