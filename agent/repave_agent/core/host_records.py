"""What this agent knows of one host, and what the decisions see of that."""

import math
from dataclasses import dataclass

from repave_agent.core.host_health import HealthRecord
from repave_agent.core.host_phase import Judgement, Signs
from repave_agent.core.observation import HostFact, Sighting
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName, HostPhase


@dataclass(slots=True)
class Record:
    """One host as this agent knows it."""

    name: HostName
    group: GroupName
    application: ApplicationName
    digest: Digest
    port: int
    launched_at: float  # or adopted
    made_at: float  # also of one that an earlier life of the agent made
    launch_time: float = 0.0  # the same in Unix time, for people
    address: str = ""
    is_adopted: bool = False  # it was there before: no provider knows it
    is_launching: bool = False
    is_destroying: bool = False
    is_running: bool = True
    ended: str = ""
    unseen: str = ""  # why its provider sees nothing of it, if that is so for too long
    failure: str = ""
    was_verified: bool = False
    is_recovering: bool = False  # was verified, then unhealthy, and not yet verified again
    is_spot: bool = False
    public_address: str = ""
    missing_since: float | None = None  # in no listing of the provider, since
    listed_at: float | None = None  # when the newest listing that shows it was begun
    sighting: Sighting | None = None
    is_orphan_noticed: bool = False
    idle_since: float | None = None  # the balancer gives it no new requests, since
    inspected_at: float | None = None
    drift: str = (
        ""  # how it differs from what it was made of; once seen it stays, whatever is done to it then
    )
    is_worn_noticed: bool = False
    judgement: Judgement = Judgement(HostPhase.LAUNCHING)  # noqa: RUF009  # frozen


def fact_of(record: Record) -> HostFact:
    """What the decisions see of it."""
    return HostFact(
        name=record.name,
        group=record.group,
        application=record.application,
        phase=record.judgement.phase,
        address=record.address,
        port=record.port,
        launched_at=record.launched_at,
        sighting=record.sighting,
        idle_since=record.idle_since,
        made_at=record.made_at,
        launch_time=record.launch_time,
        drift=record.drift,
        due_at=record.judgement.due_at,
    )


NO_ADDRESS = "it has no address: nothing reaches it"


def signs_of(record: Record, health: HealthRecord | None) -> Signs:
    """What its phase is judged by. One that has lost its address can't be probed, and need not be."""
    is_reached = bool(record.address) or record.is_launching
    return Signs(
        launched_at=record.launched_at,
        is_launching=record.is_launching,
        is_destroying=record.is_destroying,
        failure=record.failure,
        is_running=record.is_running,
        ended=record.ended,
        is_healthy=_verdict(health) if is_reached else False,
        healthy_since=_since(health, record),
        known_until=health.known_until if health is not None else -math.inf,
        health_reason=_reason(health) if is_reached else NO_ADDRESS,
        was_verified=record.was_verified,
        is_recovering=record.is_recovering,
        is_idle=record.idle_since is not None,
        is_adopted=record.is_adopted,
    )


def _reason(health: HealthRecord | None) -> str:
    return health.reason if health is not None else ""


def _verdict(health: HealthRecord | None) -> bool | None:
    """None while too few probes have answered to say either."""
    if health is None:
        return None
    if health.is_healthy:
        return True
    return False if health.failed >= health.unhealthy_after else None


def _since(health: HealthRecord | None, record: Record) -> float | None:
    """A host that has not proved itself must not fail a single probe; later the thresholds forgive some."""
    if health is None:
        return None
    return health.healthy_since if record.was_verified else health.steady_since
