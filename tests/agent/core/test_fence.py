"""The promises about which desired states an agent accepts: one epoch acts at a time, and none that would
leave clients with nobody."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_agent.core.fence import TERM_JUMP_MAX, Accept, Again, Outdated, Refuse, admit
from repave_agent.core.reconcile import Plan
from repave_agent.core.reports import reports, with_troubles
from repave_agent.core.traffic import Held
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    ZERO_EPOCH,
    ApplicationName,
    DesiredState,
    Epoch,
    HostPhase,
)
from tests.fakes.agent.region_values import (
    BLUE,
    GREEN,
    SERVED,
    SHOP,
    a_backend,
    a_group,
    a_host,
    a_state,
    a_view,
    seen,
    some_hosts,
)

SERVING = a_group(BLUE, weight_bp=FULL_WEIGHT_BP)
KNOWN = a_state(SERVING, rev=5)
EPOCHS = st.builds(Epoch, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


def refusal(proposed: DesiredState, known: DesiredState | None = KNOWN) -> str:
    answer = admit(known, proposed)
    assert isinstance(answer, Refuse)
    return answer.why


# ------------------------------------------------------------------------------------------------ epochs


@settings(deadline=None)  # on a busy machine
@given(known=EPOCHS, proposed=EPOCHS)
def test_one_epoch_acts_at_a_time(known: Epoch, proposed: Epoch) -> None:
    """Higher: accepted. Equal with the same content: confirmed. Anything else changes nothing."""
    before, after = replace(KNOWN, epoch=known), replace(KNOWN, epoch=proposed)
    answer = admit(before, after)
    expected = Again if proposed == known else Accept if proposed > known else Outdated
    assert isinstance(answer, expected)
    other = replace(after, groups=(replace(SERVING, count=9),))
    clash = Refuse if proposed == known else Accept if proposed > known else Outdated
    assert isinstance(admit(before, other), clash)


def test_the_first_state_is_accepted() -> None:
    assert admit(None, KNOWN) == Accept()


def test_an_older_epoch_changes_nothing_and_says_what_it_may_mean() -> None:
    answer = admit(KNOWN, replace(KNOWN, epoch=Epoch(1, 1, 4)))
    assert isinstance(answer, Outdated)
    why = answer.why
    assert why.startswith("epoch 1.1.4 is older than 1.1.5, which this region has accepted")
    assert "the controller's store was lost, restored from a backup, or is another one" in why
    assert why.endswith("repave controller recover")


def test_two_states_under_one_epoch_freeze_the_region() -> None:
    other = replace(KNOWN, groups=(replace(SERVING, count=9),))
    assert refusal(other) == "two different desired states carry epoch 1.1.5; frozen until a newer one"


def test_a_newer_life_of_the_store_outranks_every_term() -> None:
    assert admit(KNOWN, replace(KNOWN, epoch=Epoch(2, 0, 0))) == Accept()


def test_a_term_that_no_controller_could_have_reached_is_refused() -> None:
    assert admit(KNOWN, replace(KNOWN, epoch=Epoch(1, 1 + TERM_JUMP_MAX, 0))) == Accept()
    assert "implausibly far ahead" in refusal(replace(KNOWN, epoch=Epoch(1, 2 + TERM_JUMP_MAX, 0)))


# ----------------------------------------------------------------------------------------------- content


def test_clients_are_never_left_with_nobody() -> None:
    silent = a_state(replace(SERVING, weight_bp=0), rev=6)
    assert refusal(silent) == "no group would serve clients any more"
    assert refusal(a_state(rev=6)) == "no group would serve clients any more"


def test_a_region_may_be_closed_and_one_that_never_served_may_stay_silent() -> None:
    assert admit(KNOWN, a_state(replace(SERVING, count=0, weight_bp=0), rev=6, port=0)) == Accept()
    assert admit(a_state(a_group(), rev=5), a_state(rev=6)) == Accept()


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ((SERVING, SERVING), "a server group appears twice"),
        ((replace(SERVING, weight_bp=9_999),), "weights add up to 9999 basis points"),
        ((replace(SERVING, count=0),), "shop-v001 shall take traffic with no hosts"),
        ((replace(SERVING, weight_bp=0, count=-1),), "a weight or a count is negative"),
    ],
)
def test_what_nobody_can_mean_is_refused_whatever_its_epoch(groups: tuple, why: str) -> None:  # type: ignore[type-arg]
    for rev in (4, 5, 6):
        assert why in refusal(a_state(*groups, rev=rev))
    assert why in refusal(a_state(*groups), known=None)


# ------------------------------------------------------------------------------------------ what is told


def test_a_refusal_is_told_under_the_epoch_that_is_still_in_force() -> None:
    (report,) = reports(seen(KNOWN), {}, {SHOP: "too old"}).values()
    assert (report.epoch, report.refusal) == (KNOWN.epoch, "too old")


def test_a_refusal_of_an_application_s_first_state_is_told_too() -> None:
    other = ApplicationName("till")
    report = reports(seen(KNOWN), {}, {other: "makes no sense"})[other]
    assert (report.epoch, report.groups, report.refusal) == (ZERO_EPOCH, (), "makes no sense")


def test_a_report_counts_hosts_by_phase_and_reads_the_weight_from_the_balancer() -> None:
    hosts = (*some_hosts(2), a_host(3, HostPhase.UNHEALTHY), a_host(4, HostPhase.DESTROYING))
    view = a_view(a_backend(some_hosts(2)), to=BLUE, in_flight=7)
    (report,) = reports(seen(KNOWN, hosts, view, blue=SERVED), {BLUE: "ill"}, {}).values()
    group = report.group(BLUE)
    assert group is not None
    assert (group.verified, group.unhealthy, group.destroying, group.present) == (2, 1, 1, 4)
    assert (group.balancer_up, group.weight_bp, group.trouble) == (2, FULL_WEIGHT_BP, "ill")
    assert not group.has_given_up


def test_a_trouble_of_the_balancer_is_told_of_every_group_with_the_group_s_own() -> None:
    state = a_state(SERVING, a_group(GREEN))
    held = Held(state, "not behind the balancer yet", (BLUE,))
    told = with_troubles(
        seen(state), Plan((), (held,), None), {GREEN: "corrupt"}, ("balancer: port taken", "")
    )
    assert told == {
        BLUE: "not behind the balancer yet; balancer: port taken",
        GREEN: "balancer: port taken; corrupt",
    }


def test_a_balancer_that_does_not_run_is_told() -> None:
    view = replace(a_view(), is_running=False)
    told = with_troubles(seen(KNOWN, (), view), Plan((), (), None), {}, ())
    assert told[BLUE].startswith("the balancer does not run and can't be started")
