"""Plays: a fleet that was there before repave becomes the old side of the first release."""

from repave_controller.core.commands.adoption import AdoptionOrder, request_adoption
from repave_controller.core.commands.renewal import request_renewal
from repave_controller.core.domain.application import Application, Instant, Outcome
from repave_controller.core.domain.rollout import Phase
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.values import NO_PACKAGE, GivenHost, GroupName
from tests.scenarios.specs import spec
from tests.scenarios.stage import OLD, OSLO, PARIS, play, rollback
from tests.scenarios.world import World

CANARY = "{canary: {steps: [{traffic: 10%, hold: 30s}]}}"


def adopt(world: World, paris: int, oslo: int, *, serves: bool = False, first: int = 1) -> None:
    """So many hosts in each region, numbered from `first`."""
    order = compile_order(world.spec, NO_PACKAGE, "adopted", "ann")
    fleet = tuple(
        (region, tuple(GivenHost(f"10.{net}.0.{first + each}", 8080) for each in range(count)))
        for net, (region, count) in enumerate(((OSLO, oslo), (PARIS, paris)))
    )

    def command(application: Application, now: Instant) -> Outcome:
        return request_adoption(application, AdoptionOrder(order, fleet, serves), now)

    world.ask(f"ann: repave adopt{' --serve' * serves}", command)


@play
def an_adopted_fleet(title: str) -> World:
    """The fleet is only probed until the first release begins. It is released from, gone back to, released
    from again, and let go by the same rules as any old group."""
    world = World(spec(CANARY, "paris:4, oslo:2", "rollback: {keep: {for: 10m}}\n"), title)
    adopt(world, 5, 2)
    adopt(world, 5, 2)
    adopt(world, 5, 2, first=101)
    world.run(30)
    assert world.weights("paris") == {}
    world.release("1.1")
    assert world.until_over() is Phase.SUCCEEDED
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    assert world.weights("paris") == {OLD: 10_000}
    world.ask("ann: repave renew", lambda app, now: request_renewal(app, "ann", "", now))
    adopt(world, 5, 2)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_told("is let go")
    world.ask("ann: repave rollback --to adopted", rollback(world, to="adopted"))
    return world


@play
def a_release_over_an_adopted_fleet_fails(title: str) -> World:
    """The new hosts fall ill with half of the traffic: all of it goes back to the adopted hosts, which have
    stayed as they were."""
    world = World(spec("{canary: {steps: [{traffic: 50%, hold: 60s}]}}", "paris:4, oslo:2"), title)
    adopt(world, 4, 2, serves=True)
    world.run(30)
    assert world.weights("oslo") == {OLD: 10_000}
    world.release("1.1")
    world.until(lambda each: each.weights("paris").get("shop-v002", 0) == 5_000)
    world.happens("the new hosts of paris answer 500")
    world.regions[PARIS].ill[GroupName("shop-v002")] = 4
    assert world.until_over() is Phase.ROLLED_BACK
    assert world.weights("paris") == world.weights("oslo") == {OLD: 10_000}
    world.until_cleaned()
    return world
