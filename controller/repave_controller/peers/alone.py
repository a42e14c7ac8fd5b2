"""A controller that shares its store with no other: it decides for every application."""

from dataclasses import replace

from repave_controller.core.domain.application import Tenure
from repave_controller.peers.ports import ControllerId
from repave_protos.protocol.values import ApplicationName


class Alone:
    """Implements peers.ports.Ownership."""

    def __init__(self, tenure: Tenure) -> None:
        self._tenure = tenure

    def tenure_of(self, application: ApplicationName) -> Tenure | None:
        return self._tenure

    def owner_of(self, application: ApplicationName) -> ControllerId | None:
        return ""

    def begin(self, incarnation: int) -> None:
        self._tenure = replace(self._tenure, incarnation=incarnation)
