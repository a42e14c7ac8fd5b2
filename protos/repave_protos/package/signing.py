"""Whose signature the packages of an application need, as the settings of a controller or an agent say it.

The settings are files of operators: what a release says can't weaken them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from repave_protos.package.signatures import KEYS_MAX, PublicKey, SignatureError, public_key


def table(given: object) -> object:
    """A table, as TOML has it, may be JSON in the environment."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError:
        raise ValueError('write a table as JSON, such as {"web-*": ["KEY"]}') from None


def _check(given: dict[str, list[str]]) -> dict[str, list[str]]:
    signing_of(given)
    return given


Signatures = Annotated[dict[str, list[str]], BeforeValidator(table), AfterValidator(_check)]
"""By globs of applications: keys, each as its line or as the path of its .pub file."""


@dataclass(frozen=True, slots=True)
class Signing:
    """The first glob that an application's name matches says which keys count for it."""

    rules: tuple[tuple[str, tuple[PublicKey, ...]], ...] = ()

    def keys_for(self, application: str) -> tuple[PublicKey, ...]:
        """None at all: its packages need no signature."""
        for glob, keys in self.rules:
            if fnmatchcase(application, glob):
                return keys
        return ()


def signing_of(settings: Mapping[str, list[str]]) -> Signing:
    """Reads the keys' files. Raises ValueError, which names the key."""
    return Signing(tuple((glob, _keys(glob, given)) for glob, given in settings.items()))


def _keys(glob: str, given: list[str]) -> tuple[PublicKey, ...]:
    if not 1 <= len(given) <= KEYS_MAX:
        raise ValueError(f"{glob}: name 1 to {KEYS_MAX} keys; leave the line out if no signature is needed")
    return tuple(_key(each) for each in given)


def _key(given: str) -> PublicKey:
    if not given.startswith(("/", "./", "../")):
        try:
            return public_key(given)
        except SignatureError as error:
            raise ValueError(f"{given[:60]!a} {error}, nor the absolute path of a .pub file") from None
    path = Path(given)
    try:
        return public_key(path.read_text(), path.stem)
    except OSError as error:
        raise ValueError(f"{path}: can't be read: {error.strerror}") from None
    except (SignatureError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} {error}") from None
