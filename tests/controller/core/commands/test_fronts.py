"""What a release may do to the fronts of its application, and which ports it may share with others."""

from dataclasses import replace

import pytest

from repave_controller.core.commands.release import check_port
from repave_controller.core.domain.application import Application, ReleaseOrder
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.domain.rollout import Phase
from repave_controller.wording.render import text_of
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.fronts import TrafficFront, plain_front
from repave_protos.protocol.values import ApplicationName
from tests.fakes.controller.stepping import World, an_order
from tests.fakes.templates import a_template

PORT = 8000
MAIN, ECHO = replace(plain_front(PORT), balance="leastconn"), TrafficFront("echo", 7007, "tcp")
SHOP = TrafficFront("web", 443, "https", certificate=CertificateReference("file", "/a.pem"), host="a.example")


def with_fronts(*fronts: TrafficFront, digest: str = "a") -> ReleaseOrder:
    template = replace(a_template(("./app",)), fronts=fronts)
    return an_order(digest, template=template, frontend_port=fronts[0].port if fronts else PORT)


def serving(*fronts: TrafficFront) -> World:
    world, order = World(), with_fronts(*fronts)
    world.release("a", template=order.template, frontend_port=order.frontend_port)
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    return world


def refusal(order: ReleaseOrder, other: Application) -> Refused:
    with pytest.raises(Refused) as caught:
        check_port(ApplicationName("blog"), order, {other.name: other})
    return caught.value


def test_fronts_reach_every_region_with_the_group_that_they_belong_to() -> None:
    world = serving(MAIN, ECHO)
    world.release("b", template=with_fronts(MAIN).template)
    world.finish()
    for region in world.regions.values():
        assert region.desired is not None
        fronts = {group.name: group.template.fronts for group in region.desired.groups}
        assert fronts == {"hello-v001": (MAIN, ECHO), "hello-v002": (MAIN,)}


def test_a_front_does_not_change_between_requests_and_connections() -> None:
    world = serving(MAIN, ECHO)
    for fronts in ((replace(MAIN, protocol="tcp"),), (MAIN, replace(ECHO, protocol="grpc"))):
        with pytest.raises(Refused) as caught:
            world.release("b", template=with_fronts(*fronts).template)
        assert caught.value.kind is Refusal.FRONT_TURNED
    world.release("b", template=with_fronts(replace(MAIN, balance="random")).template)


def test_a_port_of_another_application_is_taken_whichever_front_has_it() -> None:
    other = serving(MAIN, ECHO).application
    for order in (with_fronts(), with_fronts(plain_front(81), replace(ECHO, name="mine"))):
        found = refusal(order, other)
        assert found.kind is Refusal.PORT_TAKEN
        assert "is taken by hello in oslo, paris" in text_of(found.reason)


def test_a_port_is_shared_where_each_front_matches_something_else() -> None:
    other = serving(SHOP).application
    check_port(ApplicationName("blog"), with_fronts(replace(SHOP, host="b.example")), {other.name: other})
    found = refusal(with_fronts(SHOP), other)
    assert found.kind is Refusal.PORT_NOT_SHARED
    assert text_of(found.reason) == (
        "traffic.fronts: port 443 is that of hello in oslo, paris: both match a.example"
    )
