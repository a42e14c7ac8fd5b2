"""What shows a metrics system that the controller may ask it: a bearer token, or a user and a password."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path

from repave_controller.operations.analysis.sources.asking import secret

Credentials = Callable[[], Mapping[str, str]]
"""Headers of a request, made anew for each. Raises SourceError."""


def none() -> Mapping[str, str]:
    return {}


def bearer(token: Path, word: str = "Bearer") -> Credentials:
    return lambda: {"Authorization": f"{word} {secret(token)}"}


def basic(user: str, password: Path) -> Credentials:
    def headers() -> Mapping[str, str]:
        pair = f"{user}:{secret(password)}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    return headers
