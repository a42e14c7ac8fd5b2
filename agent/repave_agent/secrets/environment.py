"""Secrets in the agent's own environment: for a trial, and where something else puts them there."""

from collections.abc import Mapping

from repave_agent.core.host_secrets import Lack, SecretError
from repave_agent.secrets.options import EnvOptions
from repave_agent.secrets.source import Found

OWN_PREFIX = "REPAVE_AGENT_"
"""The agent's settings, some of which are secret: no rule opens these."""


class EnvironmentSource:
    """Implements Source."""

    name = "env"

    def __init__(self, options: EnvOptions, environment: Mapping[str, str]) -> None:
        self.rules = options.allow
        self._environment = environment

    def ruled(self, where: str) -> str:
        if where.startswith(OWN_PREFIX):
            raise SecretError(Lack.NOT_ALLOWED, "it is one of the agent's own settings")
        return where

    async def find(self, where: str) -> Found:
        value = self._environment.get(where)
        if value is None:
            why = "the agent has no such variable: set it for its service, and start the agent again"
            raise SecretError(Lack.MISSING, why)
        return Found(value.encode(errors="surrogateescape"))

    def trouble(self) -> str:
        return ""

    async def run(self) -> None:
        return

    async def close(self) -> None:
        return
