"""A list of applications is as true as one made anew each time, and costs only what has changed."""

from dataclasses import replace

import pytest

from repave_controller.api.answers import views
from repave_controller.api.answers.listed import ApplicationItems
from repave_controller.core.domain.application import Application, RegionView
from repave_controller.fleet.regions import KnownRegion
from repave_protos.protocol.values import ApplicationReport, Epoch, GroupReport, RegionName
from tests.benchmarks.growth import copies, served
from tests.fakes.controller.links import HELLO

REGIONS, APPLICATIONS = 5, 4


class Fleet:
    """Applications in all regions, each with a report of each."""

    def __init__(self) -> None:
        self.applications = {each.name: each for each in copies(served("fleet", REGIONS), APPLICATIONS)}
        first = next(iter(self.applications.values()))
        self.regions = {name: KnownRegion(name, True, 0.0, HELLO) for name in first.regions}
        self.items = ApplicationItems()
        for region in self.regions:
            for each in self.applications.values():
                self.report(region, each, 2)

    def report(self, region: RegionName, application: Application, verified: int) -> None:
        group = next(each.name for each in application.groups if each.number == application.serving)
        report = ApplicationReport(application.name, Epoch(1, 1, 1), (GroupReport(group, verified=verified),))
        self.regions[region].observations.applications[application.name] = report

    def texts(self) -> list[str]:
        """Each compared with what it is without anything that is kept."""
        found = []
        for name, application in self.applications.items():
            seen = {
                region: RegionView(each.is_connected, each.observations.applications.get(name))
                for region, each in self.regions.items()
            }
            found.append(self.items.text(application, seen, self.regions))
            assert found[-1] == views.application_item(application, seen).model_dump_json()
        return found


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_a_list_of_what_has_not_changed_makes_nothing_anew(fleet: Fleet) -> None:
    first = fleet.texts()
    assert fleet.items.made == APPLICATIONS
    assert fleet.texts() == first
    assert fleet.items.made == APPLICATIONS


def test_one_report_costs_one_item(fleet: Fleet) -> None:
    before = fleet.texts()
    (region, *_), (name, application) = fleet.regions, next(iter(fleet.applications.items()))
    fleet.report(region, application, 1)
    after = fleet.texts()
    assert fleet.items.made == APPLICATIONS + 1
    assert [one != other for one, other in zip(before, after, strict=True)].count(True) == 1
    fleet.applications[name] = replace(application, frontend_port=9)
    fleet.texts()
    assert fleet.items.made == APPLICATIONS + 2


def test_a_region_that_begins_anew_or_is_gone_counts(fleet: Fleet) -> None:
    fleet.texts()
    first, second, *_ = fleet.regions
    fleet.regions[first] = KnownRegion(first, True, 1.0, HELLO)  # a new stream has said nothing yet
    fleet.texts()
    del fleet.regions[second]
    fleet.texts()
    assert fleet.items.made == 3 * APPLICATIONS


def test_applications_that_are_gone_are_forgotten(fleet: Fleet) -> None:
    fleet.texts()
    name, _ = fleet.applications.popitem()
    fleet.items.keep(fleet.applications)
    fleet.texts()
    assert fleet.items.made == APPLICATIONS
    assert name not in fleet.items._listed
