"""What the controller asks its own API: at whom, with accounts and without."""

from typing import cast

import pytest

from repave_controller.api.web.acting import Acting
from repave_controller.api.web.callers import Told
from repave_controller.api.web.inside import Reply
from repave_controller.api.web.relay import Command, Outcome, Relay
from repave_controller.operations.releasing import Deed, automatic
from repave_controller.security.principals import Role
from repave_protos.protocol.values import ApplicationName

GIT = automatic("gitops/fleet", Role.DEPLOYER, "hello")


class Asked:
    """A relay that notes for which application's owner a command was."""

    def __init__(self) -> None:
        self.owners_of: list[str | None] = []

    async def act(self, command: Command, application: ApplicationName | None) -> Outcome:
        self.owners_of.append(application)
        return Outcome(Reply(202, {}, b'{"ok": true}'), Told())


@pytest.mark.parametrize(
    ("path", "body", "owner"),
    [
        ("applications/hello/releases", {"spec": ""}, "hello"),
        ("applications/hello/rollback", {}, "hello"),
        ("applications/hello/rollback/plan", {}, None),
        ("applications/hello/artifacts", {}, None),
        ("applications/hello/summary", None, None),
        ("plan", {"spec": "hello"}, None),
    ],
)
async def test_a_command_goes_to_who_decides_for_its_application_without_accounts_too(
    path: str, body: dict[str, object] | None, owner: str | None
) -> None:
    relay = Asked()
    acting = Acting(cast("Relay", relay), None)
    assert await acting(Deed(GIT, path, "hello", body)) == (202, {"ok": True})
    assert relay.owners_of == [owner]
