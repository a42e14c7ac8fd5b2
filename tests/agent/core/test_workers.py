"""What an agent does with an application that takes no requests: no balancer has it, its weights are
confirmed as they are, and no old host is stopped before enough new ones work."""

from dataclasses import replace

from repave_agent.core.observation import EMPTY_VIEW, Limits, Observation
from repave_agent.core.ports import HostSpec
from repave_agent.core.reconcile import Destroy, Plan, reconcile
from repave_agent.core.reports import BALANCER_DEAD, reports, with_troubles
from repave_agent.providers.command import environment_of
from repave_protos.protocol.values import FULL_WEIGHT_BP, DesiredGroup, Digest, GroupName, HostPhase, Probe
from tests.fakes.agent.region_values import (
    BLUE,
    GREEN,
    PROVEN,
    SHOP,
    TILL,
    a_group,
    a_host,
    a_state,
    a_view,
    seen,
    some_hosts,
)
from tests.fakes.templates import a_template

AT_WORK = a_template(probe=Probe("command", 0, command=("./alive",)), is_worker=True, drain_seconds=90.0)
OLD = a_group(BLUE, count=0, template=AT_WORK)
NEW = a_group(GREEN, weight_bp=FULL_WEIGHT_BP, ready_count=2, template=AT_WORK)
OLD_HOSTS = some_hosts(2)


def planned(observation: Observation) -> Plan:
    return reconcile(observation, Limits())


def ended(observation: Observation) -> list[str]:
    return [action.host for action in planned(observation).actions if isinstance(action, Destroy)]


def region(*groups: DesiredGroup, green: int = 2, phase: HostPhase = HostPhase.VERIFIED) -> Observation:
    hosts = (*OLD_HOSTS, *some_hosts(green, phase, GREEN))
    return seen(a_state(*groups, port=0), hosts, blue=PROVEN)


def test_the_balancer_is_asked_for_nothing() -> None:
    both = region(a_group(BLUE, template=AT_WORK), NEW)
    assert planned(both).actions == ()
    assert planned(replace(both, balancer=EMPTY_VIEW)).actions == ()


def test_a_weight_is_confirmed_as_soon_as_it_is_accepted_and_who_is_verified_is_up() -> None:
    observation = region(OLD, NEW, green=1)
    old, new = reports(observation, {}, {})[SHOP].groups
    assert (new.weight_bp, new.verified, new.balancer_up) == (FULL_WEIGHT_BP, 1, 1)
    assert (old.weight_bp, old.balancer_up) == (0, 2)


def test_old_hosts_are_stopped_once_enough_new_ones_work() -> None:
    assert ended(region(OLD, NEW)) == [host.name for host in OLD_HOSTS]


def test_no_old_host_is_stopped_before() -> None:
    observation = region(OLD, NEW, green=1)
    assert ended(observation) == []
    told = with_troubles(observation, planned(observation), {}, ())
    assert told[BLUE] == f"its hosts work on: 1 of 2 hosts of {GREEN} are verified"
    assert ended(region(OLD, NEW, phase=HostPhase.UNHEALTHY)) == []


def test_an_old_host_that_does_not_work_is_no_help() -> None:
    ill = (a_host(1, HostPhase.UNHEALTHY), a_host(2))
    observation = seen(a_state(OLD, NEW, port=0), (*ill, *some_hosts(1, group=GREEN)), blue=PROVEN)
    assert ended(observation) == [ill[0].name]


def test_what_has_no_successor_is_stopped() -> None:
    assert ended(region(OLD, green=0)) == [host.name for host in OLD_HOSTS]


def test_hosts_that_finish_their_work_hold_up_no_other_application() -> None:
    """Each may take minutes, and only so many hosts of a region end at once."""
    leaving = some_hosts(3, HostPhase.DESTROYING)
    served = replace(a_state(a_group(GroupName("till-v001"), count=0)), application=TILL)
    old = [
        replace(each, application=TILL) for each in some_hosts(3, HostPhase.FAILED, GroupName("till-v001"))
    ]
    observation = seen((a_state(OLD, port=0), served), (*leaving, *some_hosts(2, first=4), *old))
    plan = reconcile(observation, Limits(destroys_in_flight=3))
    assert [each.host for each in plan.actions if isinstance(each, Destroy)] == [each.name for each in old]
    fewer = reconcile(replace(observation, hosts=observation.hosts[1:]), Limits(destroys_in_flight=3))
    ends = {each.host for each in fewer.actions if isinstance(each, Destroy)}
    assert ends == {"shop-v001-4", *(each.name for each in old)}, "its own are bounded"


def test_a_worn_host_goes_when_a_fresh_one_is_verified() -> None:
    worn = replace(NEW, name=BLUE, replace=(OLD_HOSTS[0].name,))
    hosts = (*OLD_HOSTS, a_host(3))
    assert ended(seen(a_state(worn, port=0), hosts, a_view(), blue=PROVEN)) == [OLD_HOSTS[0].name]


def test_a_dead_balancer_is_no_trouble_of_a_worker() -> None:
    observation = replace(region(OLD, NEW), balancer=EMPTY_VIEW)
    told = with_troubles(observation, planned(observation), {}, ("disk full",), "balancer: dead")
    assert told[GREEN] == "disk full"
    served = replace(seen(a_state(a_group())), balancer=EMPTY_VIEW)
    assert BALANCER_DEAD in with_troubles(served, planned(served), {}, ())[BLUE]


def test_a_host_without_a_port_is_told_none_and_has_its_time_to_finish() -> None:
    host = OLD_HOSTS[0]
    spec = HostSpec(host.name, BLUE, SHOP, Digest("d" * 64), AT_WORK)
    environment = environment_of(spec, "127.9.0.1", "paris")
    assert environment["HOST"] == "127.9.0.1"
    assert "PORT" not in environment
    assert spec.stop_grace_seconds(2.0) == 90.0
    served = replace(spec, template=replace(AT_WORK, is_worker=False))
    assert served.stop_grace_seconds(2.0) == 2.0
