"""What people write in a spec besides numbers and names: durations, shares, commands, versions; and reads it.

Every reader takes what the file holds, whatever it is, and returns the value or raises a PydanticCustomError
whose text says what would do. Durations become seconds, shares percent.
"""

import re
import shlex
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from repave_protos.protocol.values import SIZE_LENGTH_MAX, SIZES_MAX

DURATION_SECONDS_MAX = 366 * 86_400.0
WORDS_MAX = 256
WORD_LENGTH_MAX = 8192

DURATION_PATTERN = r"[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d)"
SHARE_PATTERN = r"[0-9]{1,3}(\.[0-9]{1,2})?%"
RATE_PATTERN = r"[0-9]{1,9}(\.[0-9]{1,3})?/(s|m|h)"
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
PRICE_PATTERN = r"[0-9]{1,6}(\.[0-9]{1,6})?"
AMOUNT_PATTERN = r"[0-9]{1,12}(\.[0-9]{1,6})?"
SHELL_WORDS = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1", "2>"})

_DURATION = re.compile(DURATION_PATTERN)
_SHARE = re.compile(SHARE_PATTERN)
_RATE = re.compile(RATE_PATTERN)
_PRICE = re.compile(PRICE_PATTERN)
_AMOUNT = re.compile(AMOUNT_PATTERN)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_PLACE = re.compile(r"\{(version|app|group|region)\}")
KNOWN_ON_THE_HOST = {"group": "$REPAVE_GROUP", "region": "$REPAVE_REGION"}


@dataclass(frozen=True, slots=True)
class Unquoted:
    """A date, a fraction, infinity: what YAML reads as neither text nor a whole number, as it was written."""

    text: str


def wrong(text: str) -> PydanticCustomError:
    """An error whose text is shown as it is; braces in it are no placeholders."""
    return PydanticCustomError("wrong", "{text}", {"text": text})


def later(text: str) -> PydanticCustomError:
    """Refuses what a later version of repave will take."""
    return wrong(f"this version of repave {text}")


def read_duration(written: object) -> float:
    """`"90s"` -> 90.0"""
    if not isinstance(written, str) or _DURATION.fullmatch(written) is None:
        raise wrong("write a duration such as 500ms, 30s, 5m, 12h or 7d")
    number = written.rstrip("mshd")
    seconds = float(number) * UNIT_SECONDS[written[len(number) :]]
    if seconds > DURATION_SECONDS_MAX:
        raise wrong("at most 366d")
    return seconds


def read_positive_duration(written: object) -> float:
    """The same for a duration that can't be 0."""
    seconds = read_duration(written)
    if seconds == 0:
        raise wrong("must be more than 0s")
    return seconds


def read_share(written: object) -> float:
    """`"5%"` -> 5.0"""
    if not isinstance(written, str) or _SHARE.fullmatch(written) is None:
        raise wrong("write a share such as 5% or 99.5%")
    percent = float(written[:-1])
    if percent > 100:
        raise wrong("at most 100%")
    return percent


def read_positive_share(written: object) -> float:
    """The same for a share that can't be 0."""
    percent = read_share(written)
    if percent == 0:
        raise wrong("must be more than 0%")
    return percent


def read_rate(written: object) -> float:
    """`"20/s"` -> 20.0, `"90/m"` -> 1.5"""
    if not isinstance(written, str) or _RATE.fullmatch(written) is None:
        raise wrong("write a rate such as 20/s, 90/m or 5000/h")
    number, _, unit = written.partition("/")
    rate = float(number) / UNIT_SECONDS[unit]
    if rate == 0:
        raise wrong("must be more than 0/s")
    return rate


def read_price(written: object) -> float:
    """`0.12` -> 0.12"""
    text = written.text if isinstance(written, Unquoted) else written
    if isinstance(text, bool) or not isinstance(text, str | int) or _PRICE.fullmatch(str(text)) is None:
        raise wrong("write a price such as 0.12 or 3")
    return float(text)


def read_amount(written: object) -> float:
    """`50` -> 50.0, `0.75` -> 0.75"""
    text = str(written.text if isinstance(written, Unquoted) else written)
    is_number = isinstance(written, int | str | Unquoted) and not isinstance(written, bool)
    if not is_number or _AMOUNT.fullmatch(text) is None or float(text) == 0:
        raise wrong("write a number above 0, such as 50 or 0.75")
    return float(text)


def read_sizes(written: object) -> tuple[str, ...]:
    """`"xl"` -> ("xl",). In a list the best one comes first."""
    sizes = [written] if isinstance(written, str) else written
    if not isinstance(sizes, list | tuple) or not all(isinstance(size, str) for size in sizes):
        raise wrong("write a size such as xl or m7i.2xlarge, or a list of them, the best one first")
    if not 1 <= len(sizes) <= SIZES_MAX:
        raise wrong(f"name 1 to {SIZES_MAX} sizes, or leave it out for that of each region's settings")
    for size in sizes:
        if not size.strip() == size != "" or not size.isprintable() or len(size) > SIZE_LENGTH_MAX:
            raise wrong(f"{size!a} names no size: 1 to {SIZE_LENGTH_MAX} printable characters")
        if sizes.count(size) > 1:
            raise wrong(f"{size} is there twice")
    return tuple(sizes)


def read_command(written: object) -> tuple[str, ...]:
    """A line as in a shell, or the list of its words. No shell runs it."""
    words = _split(written) if isinstance(written, str) else written
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise wrong("write a command such as ./serve --port $PORT, or the list of its words (each as text)")
    if not words or not words[0]:
        raise wrong("there is no command; name the program that serves")
    if len(words) > WORDS_MAX or any(len(word) > WORD_LENGTH_MAX for word in words):
        raise wrong(f"at most {WORDS_MAX} words of at most {WORD_LENGTH_MAX} characters")
    if any("\0" in word for word in words):
        raise wrong("a command can't hold NUL characters")
    return tuple(words)


def _split(line: str) -> list[str]:
    line = line.replace("\\\n", " ").strip()  # goes on in the next one, as in a shell
    try:
        words = shlex.split(line)
        lines = shlex.shlex(line, posix=True, punctuation_chars="")
        lines.whitespace, lines.whitespace_split, lines.commenters = " \t\r", True, ""
        has_several = list(lines) != words
    except ValueError as error:
        raise wrong(f"this line can't be split into words: {str(error).lower()}") from None
    if has_several:
        raise wrong("no shell runs this, a line break would be a space; write [sh, -c, '...'] for a shell")
    found = next((word for word in words if word in SHELL_WORDS), None)
    if found is not None:
        raise wrong(f"no shell runs this, {found} would be a plain word; write [sh, -c, '...'] for a shell")
    return words


def is_version(text: str) -> bool:
    """Versions become parts of paths and of output: letters, digits and . _ + - , at most 64."""
    return _VERSION.fullmatch(text) is not None


def check_places(text: str, *, knows_region: bool = False) -> str:
    """`text`, unless it names what only a host knows."""
    for found in _PLACE.finditer(text):
        if found[1] in KNOWN_ON_THE_HOST and not (knows_region and found[1] == "region"):
            raise wrong(f"{found[0]} is not known here; a host finds it as {KNOWN_ON_THE_HOST[found[1]]}")
    return text


def fill(text: str, version: str, app: str, region: str | None = None) -> str:
    """Puts the values in for `{version}`, `{app}` and, if given, `{region}`; all other braces stay."""
    values = {"version": version, "app": app} | ({} if region is None else {"region": region})
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), text)


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": [example]})


Duration = Annotated[float, BeforeValidator(read_duration), _schema(DURATION_PATTERN, "30s")]
PositiveDuration = Annotated[float, BeforeValidator(read_positive_duration), _schema(DURATION_PATTERN, "30s")]
Share = Annotated[float, BeforeValidator(read_share), _schema(SHARE_PATTERN, "100%")]
PositiveShare = Annotated[float, BeforeValidator(read_positive_share), _schema(SHARE_PATTERN, "100%")]
Rate = Annotated[float, BeforeValidator(read_rate), _schema(RATE_PATTERN, "20/s")]
Amount = Annotated[
    float,
    BeforeValidator(read_amount),
    WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0, "pattern": f"^{AMOUNT_PATTERN}$"}),
]
Price = Annotated[
    float,
    BeforeValidator(read_price),
    WithJsonSchema({"type": ["number", "string"], "minimum": 0, "pattern": f"^{PRICE_PATTERN}$"}),
]
Command = Annotated[
    tuple[str, ...],
    BeforeValidator(read_command),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}, "minLength": 1, "minItems": 1}),
]
Sizes = Annotated[
    tuple[str, ...],
    BeforeValidator(read_sizes),
    WithJsonSchema(
        {
            "type": ["string", "array"],
            "items": {"type": "string", "minLength": 1, "maxLength": SIZE_LENGTH_MAX},
            "minLength": 1,
            "minItems": 1,
            "maxItems": SIZES_MAX,
            "uniqueItems": True,
            "examples": ["xl", ["m7i.2xlarge", "m6i.2xlarge"]],
        }
    ),
]
