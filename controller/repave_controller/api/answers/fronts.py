"""The ways by which clients reach an application, as the API tells of them."""

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.core.domain.application import Application
from repave_protos.protocol.fronts import TrafficFront, plain_front


class FrontItem(Answer):
    """One way in, at the traffic address of each region."""

    name: str
    protocol: str = Field(description="http, https, grpc or tcp.")
    port: int
    matches: str = Field(description="The host and path that it is for; empty: all that comes to its port.")
    redirect_from: int = Field(description="Requests at this port are sent on to it; 0: none are.")


def fronts_of(application: Application) -> list[FrontItem]:
    """Those of the group that serves, or that shall be the first to; the main one first."""
    group = application.group(application.serving) or next(reversed(application.groups), None)
    return front_items(group.template.fronts if group is not None else (), application.frontend_port)


def front_items(fronts: tuple[TrafficFront, ...], port: int) -> list[FrontItem]:
    """`port`: where clients come in while there are no fronts; 0: nowhere."""
    shown = fronts or ((plain_front(port),) if port else ())
    return [
        FrontItem(
            name=each.name,
            protocol=each.protocol,
            port=each.port,
            matches=each.matches,
            redirect_from=each.redirect_from,
        )
        for each in shown
    ]
