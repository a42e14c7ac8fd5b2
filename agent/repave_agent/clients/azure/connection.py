"""One resource group of a subscription, as settings and environment say who calls and how fast."""

import os
import random
from collections.abc import Callable, Mapping

from repave_agent.clients.azure import AzureOptions
from repave_agent.clients.azure.login import fetch_of, find_principal
from repave_agent.clients.azure.resources import Resources, fault
from repave_agent.clients.rest import Pace, Rest, SharedToken, always
from repave_agent.core.ports import Clock


def subscription_of(options: AzureOptions, environment: Mapping[str, str] = os.environ) -> str:
    """ "" when none is named."""
    return options.subscription or environment.get("AZURE_SUBSCRIPTION_ID", "")


def connect(
    options: AzureOptions,
    clock: Clock,
    *,
    location: str = "",
    environment: Mapping[str, str] = os.environ,
    check: Callable[[], None] = always,
) -> Resources:
    """Nothing is called yet. `check`: asked before each call that may change something."""
    tokens = SharedToken(fetch_of(find_principal(options.authority, environment), clock), clock)
    pace = Pace(options.calls_per_second, clock)
    chance = random.Random()  # noqa: S311  # spreads retries
    rest = Rest(tokens, fault, clock, pace, chance=chance, service="Azure", check=check)
    subscription = subscription_of(options, environment)
    return Resources(rest, options.endpoint, subscription, options.resource_group, location, clock)
