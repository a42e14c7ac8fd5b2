"""One project of Google Cloud, by what the settings say of it: who calls, where, and how fast."""

import random
from collections.abc import Callable

from repave_agent.clients.gcp import GoogleOptions
from repave_agent.clients.gcp.compute import Compute, fault
from repave_agent.clients.gcp.login import Credentials, fetch_of, find_credentials, project_of_metadata
from repave_agent.clients.rest import Pace, Rest, SharedToken, always
from repave_agent.core.ports import Clock


class Account:
    """`compute` has no project until `begin` where neither settings nor credentials name one."""

    def __init__(
        self,
        options: GoogleOptions,
        clock: Clock,
        credentials: Credentials | None = None,
        check: Callable[[], None] = always,
    ) -> None:
        """Raises RefusedError for credentials that can't be read."""
        found = credentials or find_credentials(options.credentials)
        self._credentials = found
        tokens = SharedToken(fetch_of(found, clock), clock)
        pace = Pace(options.calls_per_second, clock)
        chance = random.Random()  # noqa: S311  # spreads retries
        rest = Rest(tokens, fault, clock, pace, chance=chance, service="Google", check=check)
        self.compute = Compute(rest, options.endpoint, options.project or found.project, clock)

    async def begin(self) -> None:
        """Raises ProviderError."""
        if not self.compute.project:
            self.compute.project = await project_of_metadata(self._credentials)
