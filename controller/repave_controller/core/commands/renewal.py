"""What people ask for hosts: that one is replaced, or all of the group that serves. Pure.

Which of them are replaced when is decided in `rollout/renewal.py`.
"""

from repave_controller.core.domain.application import (
    Application,
    Event,
    GroupState,
    Instant,
    Outcome,
    Tainted,
)
from repave_controller.core.domain.reasons import Happening, Refusal, Refused, cli, reason_of
from repave_controller.core.rollout.renewal import TAINTED_MAX, Renewed, taint
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupName, HostName, RegionName


def request_taint(
    application: Application,
    group: GroupName,
    region: RegionName,
    host: HostName,
    by: str,
    reason: str,
    now: Instant,
) -> Outcome:
    """The host is to be replaced. Asked again it changes nothing."""
    known = next((each for each in application.groups if each.name == group), None)
    if known is None or known.state is GroupState.RETIRING:
        raise Refused(Refusal.RETIRING_GROUP, group=group, host=host)
    if known.is_adopted:
        raise Refused(Refusal.ADOPTED_HOST, group=group, host=host)
    part = known.part(region)
    if part is not None and part.state is GroupState.FAILED:
        retire = cli("groups retire", application.name, group)
        raise Refused(Refusal.GROUP_FAILED_AT_TAINT, retire, group=group, host=host)
    if any((each.host, each.region) == (host, region) for each in application.tainted):
        return application, ()
    if len(application.tainted) >= TAINTED_MAX:
        raise Refused(
            Refusal.TOO_MANY_TAINTED,
            cli("renew", application.name),
            application=application.name,
            limit=TAINTED_MAX,
        )
    turn = Renewed(application)
    taint(turn, Tainted(host, region, group, by, reason, now))
    return turn.application, tuple(turn.events)


def request_renewal(application: Application, by: str, reason: str, now: Instant) -> Outcome:
    """Every host of the group that serves, as they are now, is to be replaced."""
    if application.running is not None:
        raise Refused(
            Refusal.ROLLOUT_RUNNING_AT_RENEWAL,
            cli("watch", application.name),
            application=application.name,
        )
    serving = application.group(application.serving)
    if serving is None:
        raise Refused(Refusal.NOTHING_TO_RENEW, application=application.name)
    if serving.is_adopted:
        raise Refused(Refusal.ADOPTED_GROUP, group=serving.name)
    renewed = application.with_group(replace(serving, generation=serving.generation + 1))
    hosts = sum(size for _, size in serving.sizes)
    what = reason_of(Happening.GROUP_RENEWED, hosts=hosts, group=serving.name, by=by, reason=reason)
    name = application.name
    return renewed, (Event("group.renewing", "", name, group=serving.name, by=by, at=now, what=what),)
