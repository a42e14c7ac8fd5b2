"""The parts of a structure that are one application's: so that one is refused and the others go on. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from repave_agent.balancers.shares import application_of
from repave_agent.core.ports import Structure, UnfitError
from repave_protos.protocol.values import ApplicationName


def part(structure: Structure, application: ApplicationName) -> Structure:
    """The application's frontend and backends."""
    return Structure(
        tuple(each for each in structure.frontends if each.application == application),
        tuple(each for each in structure.backends if application_of(each.group) == application),
    )


def changed(before: Structure, after: Structure) -> list[ApplicationName]:
    """The applications of `after` that are not as they were."""
    named = {each.application for each in after.frontends}
    named |= {application_of(each.group) for each in after.backends}
    return [name for name in sorted(named) if part(before, name) != part(after, name)]


def only(application: ApplicationName, before: Structure, after: Structure) -> Structure:
    """`before` with this application as it is in `after`."""
    own = part(after, application)
    others = part(before, application)
    return replace(
        before,
        frontends=(*(each for each in before.frontends if each not in others.frontends), *own.frontends),
        backends=(*(each for each in before.backends if each not in others.backends), *own.backends),
    )


def unfit(before: Structure, after: Structure, refused: Mapping[ApplicationName, str]) -> UnfitError:
    """Of these applications, all that is not as it was."""
    return UnfitError(
        {
            each.application: refused[each.application]
            for each in after.frontends
            if each.application in refused and each not in before.frontends
        },
        {
            each.group: refused[application]
            for each in after.backends
            if (application := application_of(each.group)) in refused and each not in before.backends
        },
    )
