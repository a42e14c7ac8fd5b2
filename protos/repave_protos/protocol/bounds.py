"""Says what may be in a message: how long, how many, how large; and checks it.

Every check returns its value unchanged or raises WireError, whose text begins with the field. They build no
text unless they fail, for reports are the hot path. Knows no message: wire.py calls these for each field.
"""

import re
from collections.abc import Collection, Sized

from repave_protos.daemon.printable import is_printable
from repave_protos.protocol.values import MARK_NAME, MARK_VALUE

APPLICATIONS_MAX = 10_000  # in one message
GROUPS_MAX = 10_000  # of one application
HOSTS_MAX = 100_000  # of one group, and in one answer
JOBS_MAX = 20  # attempts of jobs of one application in one region, at once
JOB_LOG_LENGTH_MAX = 4_000  # of the end of what one has printed
WORN_MAX = 100  # hosts that one report names, or that may be replaced at once, of one group
NOTICES_MAX = 1_000  # in one report
TROUBLES_MAX = 100  # of one region
SIGNATURE_LENGTH_MAX = 4_096
BUNDLE_LENGTH_MAX = 65_536  # of a signature by sigstore
TRUSTED_ROOT_LENGTH_MAX = 65_536
TRUSTED_ROOTS_MAX = 4  # of one package
SIGNER_LENGTH_MAX = 1_000
SIGNERS_MAX = 20  # keys that count for one package
WORDS_MAX = 1_000  # of a command, an environment, a list of capabilities
NAME_LENGTH_MAX = 200
TEXT_LENGTH_MAX = 65_536
MACHINES_MAX = 10_000  # of one pool
IMAGES_MAX = 10_000  # baked in one region, or under way there
LOG_LINES_MAX = 10_000
PROBE_SAMPLES_MAX = 10  # of one host
SLOTS_MAX = 10_000  # of the traffic of one group
FLIPS_MAX = 1_000  # of one application's traffic
OUTPUTS_MAX = 1_000  # hosts whose output is read at once
TTL_SECONDS_MAX = 2**31 - 1  # of DNS (RFC 2181)
TIMES_MAX = 1_000  # probes in a row
SECONDS_MAX = 1e9  # some thirty years
INSTANT_MAX = 1e11  # some three thousand years after 1970
NUMBER_MAX = 2**63 - 1  # what stores can keep: of epochs, sequences and query ids

# Names become parts of paths, of HAProxy's configuration and of log lines: nothing that means anything there.
_NAME = re.compile(rf"(?!\.{{1,2}}\Z)[^\s/\x00-\x1f\x7f]{{1,{NAME_LENGTH_MAX}}}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


class WireError(ValueError):
    """A message that breaks the protocol. The text begins with the field."""


def sendable(text: str, length_max: int = TEXT_LENGTH_MAX) -> str:
    """`text` as the other side will accept it: its end when it is too long, no lone surrogates."""
    if len(text) > length_max:
        text = text[-length_max:]
    return text if text.isascii() else text.encode(errors="replace").decode()


def name(value: str, field: str) -> str:
    """1 to 200 characters that show themselves, without white space and slashes; not "." or ".."."""
    if _NAME.fullmatch(value) is None or not (value.isascii() or is_printable(value)):
        raise WireError(
            f"{field}: {value[:40]!a} is no name: 1 to {NAME_LENGTH_MAX} characters, no spaces, no slashes, "
            "none that control a terminal or can't be seen"
        )
    return value


def name_or_none(value: str, field: str) -> str:
    """A name, or "" where none is meant."""
    return name(value, field) if value else value


def mark_name(value: str, field: str) -> str:
    """The name of a cookie or header, or "" where none is meant."""
    if value and MARK_NAME.fullmatch(value) is None:
        raise WireError(f"{field}: {value[:40]!r} names no cookie or header: letters, digits, _ . and - only")
    return value


def mark_value(value: str, field: str) -> str:
    """What a cookie or header must be, or "" where none is meant."""
    if value and MARK_VALUE.fullmatch(value) is None:
        raise WireError(f"{field}: {value[:40]!r} has more than letters, digits and _ . : / = + @ ~ -")
    return value


def text(value: str, field: str, length_max: int = TEXT_LENGTH_MAX) -> str:
    """Anything, but not for ever."""
    if len(value) > length_max:
        raise WireError(f"{field}: is {len(value)} characters long, at most {length_max} may be sent")
    return value


def line(value: str, field: str, length_max: int = TEXT_LENGTH_MAX) -> str:
    """What stands in a row of a table: any characters that show themselves."""
    if not is_printable(text(value, field, length_max)):
        raise WireError(f"{field}: {value[:40]!a} has characters that control a terminal or can't be seen")
    return value


def words(values: Collection[str], field: str) -> tuple[str, ...]:
    """The arguments of a command."""
    few(values, WORDS_MAX, field)
    return tuple(text(word, field) for word in values)


def sha256(value: str, field: str) -> str:
    """The digest of a package."""
    if _SHA256.fullmatch(value) is None:
        raise WireError(f"{field}: {value[:80]!r} is no SHA-256: 64 lower-case hexadecimal digits")
    return value


def fingerprint(value: str, field: str) -> str:
    """What values.fingerprint returns."""
    if _FINGERPRINT.fullmatch(value) is None:
        raise WireError(f"{field}: {value[:80]!r} is no fingerprint: 16 lower-case hexadecimal digits")
    return value


def few(values: Sized, most: int, field: str) -> None:
    """No list is longer than its bound."""
    if len(values) > most:
        raise WireError(f"{field}: has {len(values)} entries, at most {most} may be sent")


def between(least: int, value: int, most: int, field: str) -> int:
    """A whole number with both its bounds."""
    if not least <= value <= most:
        raise WireError(f"{field}: {value} is not in {least}..{most}")
    return value


def seconds(value: float, field: str) -> float:
    """A duration; not a number and infinity are none."""
    if not 0.0 <= value <= SECONDS_MAX:
        raise WireError(f"{field}: {value} is no duration: 0 to {SECONDS_MAX:.0f} seconds")
    return value


def instant(value: float, field: str) -> float:
    """Unix time, or 0 where none is meant."""
    if not 0.0 <= value <= INSTANT_MAX:
        raise WireError(f"{field}: {value} is no instant: 0 to {INSTANT_MAX:.0f} seconds after 1970")
    return value


def positive_seconds(value: float, field: str) -> float:
    """A duration that is not 0: something is done again and again after it."""
    if seconds(value, field) == 0.0:
        raise WireError(f"{field}: must be more than 0 seconds")
    return value
