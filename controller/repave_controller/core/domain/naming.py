"""Says how things are called: server groups look like `app[-stack]-vNNN`.

Names become parts of paths, of HAProxy's configuration and of host names (a DNS label holds 63 characters).
A group's name can be taken apart again into its application and its number: so no part looks like `v001`.
Where an app ends and its stack begins only the spec knows, since an app may have `-` inside.
"""

import re
import unicodedata
from dataclasses import dataclass

from repave_protos.protocol.values import GroupName, RegionName

PART_LENGTH_MAX = 32
CLUSTER_LENGTH_MAX = 48
REGION_LENGTH_MAX = 48
GROUP_NUMBER_MAX = 999_999
NUMBER_DIGITS_MIN = 3

_WORDS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_NUMBER_INSIDE = re.compile(r"(?:^|-)v[0-9]{3,6}(?:-|$)")
_GROUP = re.compile(r"(?P<cluster>.+)-v(?P<number>[0-9]{3,6})")


class NamingError(ValueError):
    """Something can't be called so. The text says why and what would do."""


@dataclass(frozen=True, slots=True)
class GroupParts:
    """A server group's name, taken apart. `cluster` is the application's name."""

    cluster: str
    number: int


def format_group(cluster: str, number: int) -> GroupName:
    """`web-prod`, 7 -> `web-prod-v007`. Numbers grow for ever: after v999 comes v1000. Raises NamingError."""
    _check_words("application", cluster, CLUSTER_LENGTH_MAX)
    if not 1 <= number <= GROUP_NUMBER_MAX:
        raise NamingError(f"{cluster}: server groups are numbered from 1 to {GROUP_NUMBER_MAX}, not {number}")
    return GroupName(f"{cluster}-v{number:0{NUMBER_DIGITS_MIN}d}")


def parse_group(name: str) -> GroupParts:
    """The opposite of format_group, for names that it can have made and no others. Raises NamingError."""
    found = _GROUP.fullmatch(name)
    if found is None:
        raise NamingError(f"{name!r} is no server group: it ends in no number such as -v001")
    number = int(found["number"])
    if format_group(found["cluster"], number) != name:
        raise NamingError(f"{name!r} is no server group: numbers are written v001, v010, v1000")
    return GroupParts(found["cluster"], number)


def format_cluster(app: str, stack: str = "") -> str:
    """`web`, `prod` -> `web-prod`. Raises NamingError."""
    check_part("app", app)
    if stack:
        check_part("stack", stack)
    cluster = f"{app}-{stack}" if stack else app
    if len(cluster) > CLUSTER_LENGTH_MAX:
        raise NamingError(f"{cluster}: is longer than {CLUSTER_LENGTH_MAX} characters in all; shorten a part")
    return cluster


def check_part(kind: str, text: str) -> str:
    """`text` if it may name an app or a stack. `kind` is the word for it in the error."""
    return _check_words(kind, text, PART_LENGTH_MAX)


def name_like(text: str) -> str:
    """`My App_2` as a name may be: `my-app-2`; "" when nothing of it can stay."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "-".join(re.findall(r"[a-z0-9]+", plain.lower()))


def check_region(text: str) -> RegionName:
    """`text` if it may name a region. Raises NamingError."""
    return RegionName(_check_words("region", text, REGION_LENGTH_MAX))


def _check_words(kind: str, text: str, length_max: int) -> str:
    if _WORDS.fullmatch(text) is None or len(text) > length_max:
        better = name_like(text)[:length_max].rstrip("-")
        hint = f"; write {better}" if better and text.isascii() else ""
        raise NamingError(
            f"{_shown(text)} can't be the name of {_article(kind)}: "
            f"1 to {length_max} of a-z and 0-9, with single - inside{hint}"
        )
    return _not_a_number(kind, text)


def _not_a_number(kind: str, text: str) -> str:
    if _NUMBER_INSIDE.search(text):
        raise NamingError(
            f"{text!r} can't be the name of {_article(kind)}: it reads like a server group's number"
        )
    return text


def _article(kind: str) -> str:
    return f"an {kind}" if kind[:1] in "aeiou" else f"a {kind}"


def _shown(text: str) -> str:
    """ASCII only, so that a letter that merely looks like another one shows."""
    return ascii(text if len(text) <= 60 else f"{text[:60]}...")
