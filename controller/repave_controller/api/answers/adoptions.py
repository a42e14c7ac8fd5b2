"""Bodies and answers about fleets that are there already, and are adopted."""

from typing import Annotated

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import SPEC_LENGTH_MAX, Body, SignedRequest
from repave_controller.core.domain.bounds import REGIONS_MAX
from repave_protos.protocol.bounds import HOSTS_MAX

Name = Annotated[str, Field(max_length=200)]


class GivenHostItem(Body):
    """A host that is there already."""

    address: str = Field(min_length=1, max_length=200, pattern=r"^[^\s/]+$", description="Where it listens.")
    port: int = Field(ge=1, le=65_535)
    name: Name = Field("", description="As it is called where it was found; may be empty.")


class FleetItem(Body):
    """Where the hosts of one region are found."""

    region: Name
    kind: str = Field(
        pattern=r"^[a-z][a-z-]{0,31}$",
        description="hosts: those that are named. Else what the region's balancer or provider can find: "
        "haproxy, octavia, asg, instance-group.",
    )
    name: Name = Field("", description="Of the backend, pool or group; not with kind hosts.")
    hosts: Annotated[list[GivenHostItem], Field(max_length=HOSTS_MAX)] = Field(
        default_factory=list, description="With kind hosts."
    )


class AdoptRequest(SignedRequest):
    """Adopt a fleet that is there already, as the old side of the application's first release."""

    spec: str = Field(max_length=SPEC_LENGTH_MAX, description="The text of repave.yaml.")
    filename: str = Field("repave.yaml", max_length=200, description="How errors call the spec.")
    fleets: Annotated[list[FleetItem], Field(min_length=1, max_length=REGIONS_MAX)] = Field(
        description="One for each region that has some."
    )
    serve: bool = Field(
        False, description="The regions' balancers send it requests at once, not only with the first release."
    )
    dry_run: bool = Field(False, description="Only look: nothing is changed.")


class AdoptedHostItem(Answer):
    """A host that was found."""

    region: str
    name: str = Field(description="As it is called where it was found; may be empty.")
    address: str
    port: int
    trouble: str = Field(description="Why it does not pass the spec's probe now; empty: it does.")


class AdoptionAnswer(Answer):
    """What was found, and what came of it."""

    application: str
    group: str = Field(description="The server group that the fleet is; empty of a dry run.")
    is_joined: bool = Field(description="It had been adopted before.")
    is_dry_run: bool
    serves: bool = Field(description="repave's balancers send it requests from now on.")
    hosts: list[AdoptedHostItem]
    notes: list[str] = Field(description="What follows, and what could not be verified.")
    problems: list[str] = Field(description="Why it would be refused; of a dry run.")
