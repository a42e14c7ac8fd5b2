"""What a Dockerfile says of how its application is started: command, port, variables, health."""

import copy
import json
import re
import shlex
from dataclasses import dataclass, field

INSTRUCTION = re.compile(r"\s*(?P<word>[A-Za-z]+)\s+(?P<rest>.*)", re.DOTALL)
HEALTH_URL = re.compile(
    r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\$\{?HOST\}?)(?::[^/\s'\"]+)?(/[^\s'\"|;&)]*)"
)


class UnclearError(Exception):
    """Docker could not start it either. The text says what is wrong."""


@dataclass(slots=True)
class Dockerfile:
    """Its last stage. `command` is "" or empty when it says none; a text was written for a shell."""

    entrypoint: str | list[str] = ""
    cmd: str | list[str] = ""
    ports: list[int] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    health_path: str = ""

    @property
    def command(self) -> str | list[str]:
        """As Docker puts the two together."""
        if isinstance(self.entrypoint, str) and self.entrypoint:
            return self.entrypoint
        if not self.entrypoint:
            return self.cmd
        rest = self.cmd if isinstance(self.cmd, list) else ["/bin/sh", "-c", self.cmd] if self.cmd else []
        return [*self.entrypoint, *rest]

    @property
    def port(self) -> int:
        """That of $PORT, else the first one that is exposed; 0 for none."""
        told = self.variables.get("PORT", "")
        return int(told) if told.isdecimal() else next(iter(self.ports), 0)


def read(text: str) -> Dockerfile:
    """Takes what it understands and passes over the rest. A stage has what the stage has that it is from."""
    found, stages = Dockerfile(), dict[str, Dockerfile]()
    for line in _lines(text.removeprefix("\ufeff")):
        instruction = INSTRUCTION.fullmatch(line)
        if instruction is None:
            continue
        word, rest = instruction["word"].upper(), instruction["rest"].strip()
        if word == "FROM":
            base, name = _stage(rest)
            found = copy.deepcopy(stages[base]) if base in stages else Dockerfile()
            stages[name or str(len(stages))] = found
        else:
            _take(found, word, rest)
    return found


def _stage(rest: str) -> tuple[str, str]:
    """`--platform=x base AS name`; both are known in any case."""
    words = [word for word in rest.lower().split() if not word.startswith("--")]
    name = words[2] if len(words) == 3 and words[1] == "as" else ""
    return (words[0] if words else ""), name


def _lines(text: str) -> list[str]:
    """Instructions, with what is continued on later lines; comments and empty lines may stand in between."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    lines, begun = [], ""
    for line in kept:
        stripped = line.rstrip()
        if stripped.endswith("\\"):
            begun += stripped[:-1] + " "
        elif stripped:
            lines.append(begun + stripped)
            begun = ""
    return [*lines, begun] if begun else lines


def _take(found: Dockerfile, word: str, rest: str) -> None:
    match word:
        case "CMD":
            found.cmd = _words(rest)
        case "ENTRYPOINT":
            found.entrypoint = _words(rest)
        case "EXPOSE":
            ports = (_put_in(each, found.variables).partition("/") for each in rest.split())
            found.ports += [int(port) for port, _, kind in ports if port.isdecimal() and kind != "udp"]
        case "ENV" | "ARG":
            known = _variables(rest)
            found.variables.update(known if word == "ENV" else {})
        case "WORKDIR":
            found.folder = rest if rest.startswith("/") else f"{found.folder.rstrip('/')}/{rest}"
        case "HEALTHCHECK":
            asked = HEALTH_URL.search(rest)
            found.health_path = asked[1] if asked else ""


def _words(rest: str) -> str | list[str]:
    """A list in JSON is words; anything else is for a shell. Raises UnclearError for what means to be a list,
    which a shell would not find either."""
    try:
        words = json.loads(rest)
    except ValueError:
        if rest.startswith("["):
            raise UnclearError(f"{rest} is no list in JSON, which takes double quotes") from None
        return rest
    is_list = isinstance(words, list) and all(isinstance(word, str) for word in words)
    return list(words) if is_list else rest


def _variables(rest: str) -> dict[str, str]:
    """`A=1 B="2 3"`, or `A the rest` as it was written once."""
    if "=" not in rest.split(None, 1)[0]:
        name, _, value = rest.partition(" ")
        return {name: value.strip()}
    try:
        pairs = (word.partition("=") for word in shlex.split(rest))
        return {name: value for name, is_pair, value in pairs if is_pair}
    except ValueError:
        return {}


def _put_in(word: str, variables: dict[str, str]) -> str:
    named = re.fullmatch(r"\$\{?(\w+)\}?(/\w+)?", word)
    return f"{variables.get(named[1], word)}{named[2] or ''}" if named else word
