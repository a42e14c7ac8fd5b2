"""The promises of the worker, over fakes that outlive it: a release in one region, an agent that is killed at
any point of it, and what people are told when something does not work."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.core.host_secrets import Lack, SecretError
from repave_agent.core.observation import LEFT_OUT_SECONDS
from repave_agent.core.ports import Host, OutOfCapacityError, RefusedError, Route, TransientError
from repave_agent.core.reports import SHUT_OUT_SECONDS
from repave_agent.runtime.journal import JournalError
from repave_agent.runtime.worker import breath_after
from repave_protos.protocol.queries import Accepted, AcceptedOf, Hosts, HostsOf
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    ApplicationName,
    DesiredState,
    Epoch,
    GroupName,
    HostName,
    SecretReference,
    Welcome,
    fingerprint_of_state,
)
from tests.fakes.agent.region_values import BLUE, GREEN, SHOP, a_state
from tests.fakes.agent.worker_rig import PROBE, WorkerRig, fast_group, worker_rig
from tests.fakes.templates import changed
from tests.fakes.waiting import until, until_async

OLD = fast_group(BLUE, weight_bp=FULL_WEIGHT_BP)
NEW = fast_group(GREEN)
ALONE = a_state(replace(OLD, weight_bp=0), rev=1)
SERVES = a_state(OLD, rev=2)
BESIDE = a_state(OLD, NEW, rev=3)
FLIPPED = a_state(replace(OLD, weight_bp=0), replace(NEW, weight_bp=FULL_WEIGHT_BP), rev=4)
RETIRED = a_state(replace(OLD, count=0, weight_bp=0), replace(NEW, weight_bp=FULL_WEIGHT_BP), rev=5)
FORGOTTEN = a_state(replace(NEW, weight_bp=FULL_WEIGHT_BP), rev=6)
RELEASE = (ALONE, SERVES, BESIDE, FLIPPED, RETIRED, FORGOTTEN)
TO_BLUE, TO_GREEN = (Route(SHOP, BLUE),), (Route(SHOP, GREEN),)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[WorkerRig]:
    async with worker_rig(tmp_path) as rig:
        yield rig


async def bring(rig: WorkerRig, *states: DesiredState) -> None:
    for state in states:
        await rig.desire(state)
        await rig.converged(state)


# ---------------------------------------------------------------------------------------------- a release


@pytest.mark.parametrize(("took", "breath"), [(0.0, 0.01), (0.003, 0.01), (0.03, 0.09), (2.0, 0.1)])
def test_looks_that_take_long_come_less_often(took: float, breath: float) -> None:
    """They have a quarter of the time at most, and nothing waits longer than a tenth of a second for one."""
    assert breath_after(took) == pytest.approx(breath)


async def test_a_release_goes_from_launch_to_flip_to_retirement(rig: WorkerRig) -> None:
    await bring(rig, *RELEASE)
    assert rig.splits == [TO_BLUE, TO_GREEN]
    assert rig.hosts(GREEN) == set(rig.cloud.hosts) == {"shop-v002-1", "shop-v002-2"}
    assert rig.report(GREEN).launched_total == rig.cloud.addresses_given - 2 == 2
    kinds = [notice.kind for notice in rig.told.notices]
    assert kinds == ["host.launched"] * 4 + ["host.destroyed"] * 2


@pytest.mark.parametrize("moment", range(len(RELEASE)))
@pytest.mark.parametrize("is_done", [False, True], ids=["just-told", "done"])
async def test_an_agent_killed_at_any_point_goes_on_where_it_was(
    rig: WorkerRig, moment: int, is_done: bool
) -> None:
    """Nothing is doubled, nothing lost, and no split is given that was not asked for."""
    for number, state in enumerate(RELEASE):
        await rig.desire(state)
        if number == moment and not is_done:
            await rig.restart()
        await rig.converged(state)
        if number == moment and is_done:
            before = (rig.hosts(BLUE), rig.hosts(GREEN), list(rig.splits))
            await rig.restart()
            await rig.converged(state)
            assert (rig.hosts(BLUE), rig.hosts(GREEN), rig.splits) == before
    assert rig.splits == [TO_BLUE, TO_GREEN]
    assert rig.cloud.addresses_given == 4
    assert set(rig.cloud.hosts) == rig.hosts(GREEN)


async def test_a_restarted_agent_keeps_verified_hosts_in_traffic(rig: WorkerRig) -> None:
    """Even those whose proof would take long: no server is disabled for a moment."""
    await bring(rig, ALONE, SERVES)
    patient = a_state(changed(OLD, {"min_healthy_seconds": 3_600.0}), rev=3)
    await bring(rig, patient)
    structure = rig.machine.structure
    await rig.restart()
    first = await rig.reported(patient)
    assert [group.verified for group in first.groups] == [2]
    await until(lambda: rig.report().verified == 2 and rig.prober.record(HostName("shop-v001-1")))
    assert rig.machine.structure == structure


async def test_an_agent_that_stood_still_verifies_nobody_by_the_time_it_slept(rig: WorkerRig) -> None:
    await rig.desire(a_state(changed(OLD, {"min_healthy_seconds": 3_600.0}), rev=1))
    await until(lambda: rig.report().healthy == 2)
    reported = len(rig.told.reports)
    rig.skip(3_600.0)
    woken_at = rig.clock()
    for host in rig.hosts():
        await until(lambda host=host: (known := rig.prober.record(host)) and known.known_until > woken_at)  # type: ignore[misc]
    await until(lambda: len(rig.told.reports) > reported + 1)
    assert (rig.report().healthy, rig.report().verified) == (2, 0)


async def test_launches_cut_off_by_a_kill_are_begun_again_under_fresh_names(rig: WorkerRig) -> None:
    rig.provider.gate.clear()
    await rig.desire(ALONE)
    await until(lambda: rig.report().launching == 2)
    await rig.restart()
    await rig.converged(ALONE)
    assert rig.hosts() == {"shop-v001-3", "shop-v001-4"}


async def test_launches_in_flight_stay_within_the_limit(rig: WorkerRig) -> None:
    rig.provider.gate.clear()
    many = a_state(fast_group(count=7))
    await rig.desire(many)
    await until(lambda: rig.report().launching == 3)
    await rig.desire(replace(many, epoch=Epoch(1, 1, 2)))
    await until(lambda: rig.told.newest[SHOP].epoch.rev == 2)
    assert rig.report().launching == 3
    rig.provider.gate.set()
    await until(lambda: rig.report().verified == 7)


async def test_the_report_of_a_flip_waits_until_the_balancer_has_acknowledged(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES, BESIDE)
    rig.balancer.gate.clear()
    await rig.desire(FLIPPED)
    await until(lambda: rig.balancer.routes_asked == 2)
    assert rig.told.newest[SHOP].epoch == BESIDE.epoch
    rig.balancer.gate.set()
    first = await rig.reported(FLIPPED)
    weights = {group.group: group.weight_bp for group in first.groups}
    assert weights == {BLUE: 0, GREEN: FULL_WEIGHT_BP}


async def test_the_balancer_is_asked_one_thing_at_a_time(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES, BESIDE)
    rig.balancer.gate.clear()
    await rig.desire(FLIPPED)
    await until(lambda: rig.balancer.routes_asked == 2)
    before = rig.provider.times_listed
    rig.skip(6.0)
    await until(lambda: rig.provider.times_listed > before)
    rig.skip(6.0)
    await until(lambda: rig.provider.times_listed > before + 1)
    assert rig.balancer.routes_asked == 2
    rig.balancer.gate.set()
    await rig.converged(FLIPPED)
    assert rig.splits == [TO_BLUE, TO_GREEN]


async def test_requests_in_flight_hold_the_old_group_until_they_end(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES, BESIDE, FLIPPED)
    rig.machine.in_flight[BLUE] = 1
    await rig.desire(RETIRED)
    await until(lambda: rig.report().in_flight == 1)
    looks = len(rig.told.reports)
    await until(lambda: len(rig.told.reports) > looks + 3)
    assert len(rig.hosts(BLUE)) == 2
    assert rig.machine.structure.backend(BLUE) is not None
    rig.machine.in_flight.clear()
    await rig.converged(RETIRED)


async def test_a_drain_ends_at_its_time(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES, BESIDE, FLIPPED)
    rig.machine.in_flight[BLUE] = 1
    await rig.desire(RETIRED)
    await until(lambda: rig.report().in_flight == 1)
    rig.skip(OLD.template.drain_seconds)
    await rig.converged(RETIRED)


# ----------------------------------------------------------------------------------------------- healing


async def test_a_host_that_ends_is_replaced_under_a_fresh_name(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES)
    rig.provider.end(HostName("shop-v001-1"))
    await until(lambda: rig.hosts() == {"shop-v001-2", "shop-v001-3"})
    await rig.converged(SERVES)
    assert "shop-v001-1: exited with code 1" in [notice.text for notice in rig.told.notices]


async def test_an_unhealthy_host_leaves_traffic_and_is_replaced(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES)
    rig.ill.add(HostName("shop-v001-2"))
    await until(lambda: rig.hosts() == {"shop-v001-1", "shop-v001-3"})
    await rig.converged(SERVES)
    assert rig.splits == [TO_BLUE]


async def test_a_replaced_host_finishes_its_requests(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES)
    rig.machine.in_flight[BLUE] = 1
    rig.ill.add(HostName("shop-v001-2"))
    await until(lambda: rig.report().verified == 2 and rig.report().unhealthy == 1)
    looks = len(rig.told.reports)
    rig.skip(OLD.template.drain_seconds / 2)
    await until(lambda: len(rig.told.reports) > looks)
    assert "shop-v001-2" in rig.hosts()
    rig.skip(OLD.template.drain_seconds / 2)
    await until(lambda: rig.hosts() == {"shop-v001-1", "shop-v001-3"})


async def test_when_all_turn_unhealthy_they_stay_in_traffic(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES)
    rig.provider.gate.clear()  # nobody can be launched in their place
    rig.ill |= rig.hosts()
    await until(lambda: rig.report().unhealthy == 2)
    await until(lambda: rig.report().balancer_up == 2)
    assert len(rig.hosts()) == 2
    assert "exit code 1, expected 0" in rig.report().trouble


async def test_a_balancer_that_died_comes_back_with_its_split(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES)
    rig.machine.die()
    await until(lambda: rig.machine.is_running)
    await until(lambda: rig.told.notices[-1].kind == "balancer.restarted")
    await rig.converged(SERVES)
    assert rig.splits == [TO_BLUE]


# ---------------------------------------------------------------------------------- what does not work


async def test_a_corrupt_package_makes_the_group_give_up_with_its_message(rig: WorkerRig) -> None:
    rig.packages.missing[OLD.digest] = "corrupt package: its digest is another one"
    await rig.desire(ALONE)
    await until(lambda: rig.report().has_given_up)
    assert rig.report().trouble == "corrupt package: its digest is another one"
    assert rig.cloud.hosts == {}


async def test_what_the_provider_refuses_makes_the_group_give_up_with_its_message(rig: WorkerRig) -> None:
    rig.provider.refuse_next = [RefusedError("port 8080 is taken")]
    await rig.desire(a_state(fast_group(count=1)))
    await until(lambda: rig.report().has_given_up)
    assert rig.report().trouble == "port 8080 is taken"
    await rig.restart()
    await until(lambda: rig.report().has_given_up)
    assert rig.cloud.hosts == {}


WITH_SECRET = a_state(fast_group(count=1, secrets=(SecretReference("URL", "vault", "kv/shop#url"),)))


async def test_a_host_waits_for_a_secret_by_its_name_and_is_not_half_made(rig: WorkerRig) -> None:
    rig.secrets.lacks = [SecretError(Lack.SEALED, "Vault is sealed")] * 6
    await rig.desire(WITH_SECRET)
    await until(lambda: bool(rig.report().trouble))
    assert rig.report().trouble == "it waits for secret URL (vault kv/shop#url): Vault is sealed"

    def has_waited() -> bool:
        rig.skip(5.0)
        return not rig.secrets.lacks

    await until(has_waited)
    assert rig.provider.launched == []
    assert not rig.report().has_given_up
    rig.skip(5.0)
    await rig.converged(WITH_SECRET)
    assert [each for each in rig.told.notices if each.kind == "host.launched"][-1].text.endswith(
        ", with URL (vault kv/shop#url)"
    )
    assert "canary" not in f"{rig.told.notices} {rig.told.reports} {rig.journal_path.read_text()}"


async def test_a_secret_that_is_not_there_counts_and_one_that_is_forbidden_ends_it(rig: WorkerRig) -> None:
    rig.secrets.lacks = [SecretError(Lack.MISSING, "it has none there (404)")] * 9
    await rig.desire(WITH_SECRET)

    def has_given_up() -> bool:
        rig.skip(5.0)
        return rig.report().has_given_up

    await until(has_given_up)
    assert 1 < 9 - len(rig.secrets.lacks) < 9
    assert rig.report().trouble == "it has no secret URL (vault kv/shop#url): it has none there (404)"
    rig.secrets.lacks = [SecretError(Lack.NOT_ALLOWED, "shop may not read it")] * 2
    again = replace(WITH_SECRET.groups[0], attempt=1)
    await rig.desire(replace(WITH_SECRET, epoch=Epoch(1, 1, 9), groups=(again,)))
    await until(lambda: "may not read it" in rig.report().trouble and rig.report().has_given_up)
    assert len(rig.secrets.lacks) == 1
    assert rig.provider.launched == []


async def test_a_full_disk_is_told_and_the_launch_tried_again(rig: WorkerRig) -> None:
    rig.provider.refuse_next = [OutOfCapacityError("the disk is full")] * 2
    await rig.desire(ALONE)
    await until(lambda: rig.report().trouble == "the disk is full")
    assert not rig.report().has_given_up
    await rig.converged(ALONE)
    assert rig.report().trouble == ""


async def test_a_trouble_of_the_balancer_is_told_and_tried_again(rig: WorkerRig) -> None:
    """Told once in the events, and of a group whose own hosts are all well too."""
    await bring(rig, ALONE, SERVES, BESIDE)
    rig.balancer.route_trouble = "the map is locked"
    await rig.desire(FLIPPED)
    await until(lambda: rig.report(GREEN).trouble == "balancer: the map is locked")
    rig.skip(2.0)
    looks = len(rig.told.reports)
    await until(lambda: len(rig.told.reports) > looks)
    assert [notice.text for notice in rig.told.notices].count("the map is locked") == 1
    rig.balancer.route_trouble = ""
    rig.skip(2.0)
    await rig.converged(FLIPPED)
    assert rig.report(GREEN).trouble == ""


TILL = ApplicationName("till")
TILLS = a_state(fast_group(GroupName("till-v001")), port=81)
TILLS = replace(TILLS, application=TILL)


async def test_an_application_that_the_balancer_can_not_take_holds_up_no_other(rig: WorkerRig) -> None:
    """Its port is another program's: that is told, and it comes in when the port is free."""
    await bring(rig, ALONE, SERVES)
    rig.machine.taken_ports.add(81)
    await rig.desire(TILLS)
    await until(lambda: "port 81 is taken" in _trouble_of(rig, TILL))
    rig.provider.end(HostName("shop-v001-1"))
    await until(lambda: rig.report().balancer_up == 2 and rig.hosts() == {"shop-v001-2", "shop-v001-3"})
    assert rig.report().trouble == ""
    assert rig.machine.structure.frontend(TILL) is None
    rig.machine.taken_ports.clear()
    rig.skip(LEFT_OUT_SECONDS)
    await until(lambda: rig.machine.structure.frontend(TILL) is not None)
    await until(lambda: not _trouble_of(rig, TILL))


async def test_an_odd_group_of_an_application_leaves_its_others_alone(rig: WorkerRig) -> None:
    """The new release asks for a path that no balancer takes: the old one is healed and serves."""
    await bring(rig, ALONE, SERVES)
    odd = fast_group(GREEN, probe=replace(PROBE, kind="http", path='/"odd', expect_status=200))
    await rig.desire(a_state(OLD, odd, rev=3))
    await until(lambda: "health.http.path" in rig.report(GREEN).trouble)
    rig.provider.end(HostName("shop-v001-1"))
    await until(lambda: rig.report().balancer_up == 2 and rig.hosts() == {"shop-v001-2", "shop-v001-3"})
    assert rig.machine.structure.backend(GREEN) is None
    rig.skip(SHUT_OUT_SECONDS)
    await until(lambda: rig.report(GREEN).has_given_up)


def _trouble_of(rig: WorkerRig, application: ApplicationName) -> str:
    report = rig.told.newest.get(application)
    return "; ".join(group.trouble for group in report.groups) if report is not None else ""


async def test_a_split_that_can_not_be_given_does_not_stop_healing(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES, BESIDE)
    rig.balancer.route_trouble = "the map is locked"
    await rig.desire(FLIPPED)
    await until(lambda: rig.report(GREEN).trouble)
    rig.provider.end(HostName("shop-v001-1"))
    await until(lambda: rig.hosts() == {"shop-v001-2", "shop-v001-3"})
    await until(lambda: rig.report().balancer_up == 2)
    assert rig.splits == [TO_BLUE]


async def test_a_balancer_that_can_not_be_started_is_told(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES)
    rig.machine.trouble = "no binary"
    rig.machine.die()
    await until(lambda: rig.report().trouble.startswith("the balancer does not run"))
    assert len(rig.hosts()) == 2
    rig.machine.trouble = ""
    rig.skip(2.0)
    await rig.converged(SERVES)
    assert rig.report().trouble == ""


async def test_a_provider_that_can_not_list_its_hosts_ends_nothing(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES)
    rig.provider.list_trouble = "the cloud is away"
    rig.skip(6.0)
    await until(lambda: rig.report().trouble == "hosts can't be listed: the cloud is away")
    assert rig.report().verified == 2
    rig.provider.list_trouble = ""
    rig.skip(6.0)
    await until(lambda: rig.report().trouble == "")
    await rig.converged(SERVES)


async def test_a_host_that_could_not_be_destroyed_is_tried_again(rig: WorkerRig) -> None:
    await bring(rig, ALONE)
    rig.provider.refuse_destroys = [TransientError("busy")]
    gone = a_state(replace(OLD, count=0, weight_bp=0), rev=2)
    await bring(rig, gone)
    assert rig.provider.refuse_destroys == []


async def test_hosts_of_strangers_are_left_alone(rig: WorkerRig) -> None:
    stranger = Host(HostName("shop-v001-9"), BLUE, SHOP, OLD.digest, "127.90.9.9", 8080, 0.0, is_running=True)
    rig.cloud.hosts[stranger.name] = ("somebody/else", stranger)
    await rig.desire(ALONE)
    await until(lambda: rig.report().verified == 2)
    await rig.restart()
    await until(lambda: rig.report().verified == 2)
    assert rig.cloud.hosts[stranger.name] == ("somebody/else", stranger)
    assert rig.report().present == 2


# ------------------------------------------------------------------------------------- the controller


async def test_another_installation_s_controller_is_refused(rig: WorkerRig) -> None:
    ours, foreign = (Welcome("1", installation, "") for installation in ("ours", "foreign"))
    assert rig.worker.welcome(ours)
    assert not rig.worker.welcome(foreign)
    await rig.restart()
    assert not rig.worker.welcome(foreign)
    assert rig.worker.welcome(ours)
    assert rig.worker.installation == "ours"


async def test_a_stale_epoch_changes_nothing_and_fails_nobody(rig: WorkerRig) -> None:
    """It may just have been long under way: the report says by its epoch what is in force."""
    await bring(rig, ALONE, SERVES)
    await rig.restart()
    await rig.desire(ALONE)
    await rig.reported(SERVES)
    assert rig.refusal == ""
    assert rig.told.newest[SHOP].epoch == SERVES.epoch
    await bring(rig, BESIDE)
    assert rig.splits == [TO_BLUE]


async def test_hello_tells_what_was_accepted(rig: WorkerRig) -> None:
    await rig.desire(ALONE)
    await rig.restart()
    (applied,) = rig.worker.applied()
    assert (applied.application, applied.epoch, applied.fingerprint) == (
        SHOP,
        ALONE.epoch,
        fingerprint_of_state(ALONE),
    )


async def test_a_state_that_can_not_be_saved_is_not_acted_on(rig: WorkerRig) -> None:
    await bring(rig, ALONE, SERVES)
    rig.disk.fails = True
    with pytest.raises(JournalError):
        await rig.desire(BESIDE)
    await until(lambda: "can't be written" in rig.refusal)
    assert rig.worker.applied()[0].epoch == SERVES.epoch
    assert rig.hosts(GREEN) == set()
    rig.disk.fails = False
    await bring(rig, BESIDE)
    assert rig.refusal == ""


async def test_what_must_be_remembered_waits_for_the_journal(rig: WorkerRig) -> None:
    """A host's name is on disk before the host is made; all the same the sick leave traffic at once."""
    await bring(rig, ALONE, SERVES)
    rig.disk.fails = True
    rig.provider.end(HostName("shop-v001-1"))
    await until(lambda: "can't be written" in rig.report().trouble)
    await until(lambda: rig.report().balancer_up == 1 and rig.hosts() == {"shop-v001-2"})
    assert rig.cloud.addresses_given == 2
    rig.disk.fails = False
    await rig.converged(SERVES)
    assert rig.report().trouble == ""


async def test_no_host_that_runs_is_ended_before_that_is_written_down(rig: WorkerRig) -> None:
    """Another agent, after a kill, would know nothing of it and give traffic to a host that is ending."""
    await bring(rig, ALONE, SERVES)
    rig.provider.gate.clear()
    rig.ill.add(HostName("shop-v001-1"))
    await until(lambda: rig.report().unhealthy == rig.report().launching == 1)
    rig.disk.fails = True
    rig.provider.gate.set()
    await until(lambda: rig.report().balancer_up == 2 and "can't be written" in rig.report().trouble)
    assert rig.hosts() == {"shop-v001-1", "shop-v001-2", "shop-v001-3"}
    assert rig.report().destroying == 0
    rig.disk.fails = False
    await rig.converged(SERVES)
    assert rig.hosts() == {"shop-v001-2", "shop-v001-3"}


async def test_a_question_is_answered_with_the_ends_of_logs(rig: WorkerRig) -> None:
    await bring(rig, ALONE)
    rig.cloud.logs[HostName("shop-v001-1")] = "one\ntwo\nthree\n"
    answer = await rig.worker.answer(HostsOf(SHOP, BLUE, log_lines=2))
    assert isinstance(answer, Hosts)
    assert [(host.host, host.phase, host.log_tail) for host in answer.hosts] == [
        ("shop-v001-1", "verified", "two\nthree"),
        ("shop-v001-2", "verified", ""),
    ]
    assert await rig.worker.answer(HostsOf(SHOP, GREEN)) == Hosts()
    answer = await rig.worker.answer(HostsOf(SHOP, host="shop-v001-2", probes=3))
    assert isinstance(answer, Hosts)
    (host,) = answer.hosts
    assert (host.host, {(each.passed, each.said) for each in host.probes}) == (
        "shop-v001-2",
        {(True, "ended with exit code 0")},
    )


async def test_a_question_is_answered_with_the_address_for_others(rig: WorkerRig) -> None:
    await bring(rig, ALONE)
    name = HostName("shop-v001-1")
    owner, host = rig.cloud.hosts[name]
    rig.cloud.hosts[name] = (owner, replace(host, public_address="203.0.113.7"))
    rig.provider.end(HostName("shop-v001-2"))  # the hosts are listed then

    async def is_told() -> bool:
        answer = await rig.worker.answer(HostsOf(SHOP, BLUE))
        assert isinstance(answer, Hosts)
        return answer.hosts[0].public_address == "203.0.113.7"

    await until_async(is_told)


async def test_a_controller_that_has_lost_it_is_told_what_was_accepted(rig: WorkerRig) -> None:
    await rig.desire(ALONE)
    assert await rig.worker.answer(AcceptedOf(SHOP)) == Accepted(ALONE)
    assert await rig.worker.answer(AcceptedOf(ApplicationName("till"))) == Accepted(None)


async def test_the_log_of_a_host_that_failed_is_kept_when_it_is_gone(rig: WorkerRig) -> None:
    await bring(rig, ALONE)
    rig.cloud.logs[HostName("shop-v001-1")] = "one\ntwo\nthree\n"
    rig.provider.end(HostName("shop-v001-1"), "exited with code 1 after 0.3 s; its log ends: three")
    await until(lambda: rig.hosts() == {"shop-v001-2", "shop-v001-3"})

    async def asked(with_gone: bool) -> list[tuple[str, str, str, bool]]:
        answer = await rig.worker.answer(HostsOf(SHOP, BLUE, log_lines=2, with_gone=with_gone))
        assert isinstance(answer, Hosts)
        return [(host.host, str(host.phase), host.log_tail, host.gone_at > 0) for host in answer.hosts]

    (gone,) = [host for host in await asked(True) if host[3]]
    assert gone == ("shop-v001-1", "failed", "two\nthree", True)
    assert not [host for host in await asked(False) if host[3]]


async def test_a_state_that_cannot_be_read_is_shown_as_refused_and_the_region_goes_on(
    rig: WorkerRig,
) -> None:
    await bring(rig, ALONE)
    rig.worker.refuse(SHOP, "Split.by: 99 is no way that this version knows")
    await until(lambda: "Split.by" in rig.refusal)
    assert len(rig.hosts()) == 2
    await bring(rig, SERVES)
    await until(lambda: rig.refusal == "")
