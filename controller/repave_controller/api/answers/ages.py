"""How old and how worn hosts are: the age report, and a word on one host. Reads only."""

from collections.abc import Iterator
from datetime import UTC, datetime

from repave_controller.api.answers import models
from repave_controller.core.domain.application import UNWANTED, Application, Observed, ServerGroup
from repave_controller.core.rollout.renewal import replaced_in, tainted_in
from repave_protos.protocol.values import GroupReport, HostDetail, RegionName


def aging(application: Application) -> Iterator[tuple[RegionName, ServerGroup]]:
    """Each group in each region, those that failed or are being destroyed left out."""
    for group in application.groups:
        if group.state not in UNWANTED:
            for part in group.parts:
                yield part.region, group


def age_item(
    application: Application, group: ServerGroup, region: RegionName, observed: Observed
) -> models.AgeItem:
    """As the region reported last."""
    view = observed.get(region)
    report = view.group(group.name) if view is not None else GroupReport(group.name)
    return _age_item(application, group, region, report)


def _age_item(
    application: Application, group: ServerGroup, region: RegionName, report: GroupReport
) -> models.AgeItem:
    return models.AgeItem(
        application=application.name,
        region=region,
        group=group.name,
        state=str(group.state),
        hosts=report.present,
        oldest_at=_time(report.oldest_at),
        max_age_seconds=group.upkeep.max_age_seconds,
        aged=report.aged,
        drifted=report.drifted,
        outdated=report.outdated,
        tainted=len(tainted_in(application, group.name, region)),
        replacing=len(replaced_in(application, group.name, region)),
        due_at=_time(report.due_at),
        worn=list(_worn(application, group, region, report)),
    )


def _worn(
    application: Application, group: ServerGroup, region: RegionName, report: GroupReport
) -> Iterator[models.WornItem]:
    replaced = replaced_in(application, group.name, region)
    tainted = tainted_in(application, group.name, region)
    for each in tainted:
        yield models.WornItem(
            host=each.host, why="tainted", text=each.reason, by=each.by, is_replaced=each.host in replaced
        )
    named = {each.host for each in tainted}
    for worn in report.worn:
        if worn.host not in named:
            is_replaced = worn.host in replaced
            yield models.WornItem(
                host=worn.host, why=worn.why, text=worn.text, by="", is_replaced=is_replaced
            )


def worn_text(host: HostDetail, region: RegionName, application: Application) -> str:
    """Why one host is to be replaced, and how far that is; "" when it is not."""
    tainted = {each.host: each for each in tainted_in(application, host.group, region)}.get(host.host)
    text = host.worn
    if tainted is not None:
        text = f"tainted by {tainted.by or 'an operator'}" + (f": {tainted.reason}" if tainted.reason else "")
    is_replaced = host.host in replaced_in(application, host.group, region)
    return f"{text}; being replaced" if is_replaced else text


def _time(instant: float) -> datetime | None:
    return datetime.fromtimestamp(instant, UTC) if instant else None
