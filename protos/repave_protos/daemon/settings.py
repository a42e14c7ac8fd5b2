"""Reads a process's settings: flag over environment over file over default, and nothing misspelt is ignored.

A setting `http.listen` is `[http] listen` in the TOML file and PREFIX_HTTP__LISTEN in the environment, or
PREFIX_HTTP__LISTEN_FILE for the content of a file. Standard library and pydantic only.
"""

import difflib
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

FILE_BYTES_MAX = 1024 * 1024
FILE_SUFFIX = "_file"
USER_AND_PASSWORD = re.compile(r"(://[^/?#:@\s]*:)[^/?#\s]*@")
PASSWORD_PARAMETER = re.compile(r"(://\S*[?&][a-z]*password=)[^&#\s]*")


class SettingsError(Exception):
    """The process can't start with these settings. The text names the setting, its origin and the fix."""


class Settings(BaseModel):
    """What settings are made of; sections are Settings too."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=Settings)
Origins = dict[str, str]
"""Setting -> "flag", "environment REPAVE_X", "file /path" or "default"."""


def named_in_environment(name: str) -> dict[str, Any]:
    """For Field(json_schema_extra=...): this variable (of systemd, say) comes before the default."""
    return {"environment": name}


def host_and_port(text: str) -> str:
    """`text` if it looks like HOST:PORT; raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdecimal() and int(port) <= 65_535):
        raise ValueError("write HOST:PORT, such as 127.0.0.1:7400")
    return text


Address = Annotated[str, AfterValidator(host_and_port)]


def of_form(pattern: str, words: str) -> AfterValidator:
    """For Annotated[str, ...]: all of the text is as `pattern` says, or the error says `must be WORDS`."""
    form = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"must be {words}")
        return text

    return AfterValidator(check)


def words_of(given: object) -> object:
    """A command may be a list of words, or a line that is split as a shell does; no shell ever runs it."""
    return tuple(shlex.split(given)) if isinstance(given, str) else given


Words = Annotated[tuple[str, ...], BeforeValidator(words_of)]


def pairs_of(given: object) -> object:
    """Pairs may be a table, or a line such as "team=shop tier=web"."""
    if not isinstance(given, str):
        return given
    words = [word.partition("=") for word in shlex.split(given)]
    if not all(sign for _, sign, _ in words):
        raise ValueError("write pairs such as team=shop tier=web")
    return {name: value for name, _, value in words}


Pairs = Annotated[dict[str, str], BeforeValidator(pairs_of)]


def load_settings(
    model: type[Model],
    file: Path | None,
    environment: Mapping[str, str],
    prefix: str,
    flags: Mapping[str, object] | None = None,
) -> tuple[Model, Origins]:
    """The settings and where each came from. Flags go by dotted name; None means not given.

    Raises SettingsError.
    """
    known = dict(_leaves(model))
    layers: list[dict[str, tuple[object, str]]] = [
        _from_standard_names(known, environment),
        _from_file(known, file) if file is not None else {},
        _from_environment(known, environment, prefix),
        {name: (value, "flag") for name, value in (flags or {}).items() if value is not None},
    ]
    given = {name: found for layer in layers for name, found in layer.items()}
    try:
        settings = model.model_validate(_nested(given))
    except ValidationError as error:
        raise SettingsError(
            "; ".join(_explain(each, given, file, prefix) for each in error.errors())
        ) from None
    return settings, {name: given[name][1] if name in given else "default" for name in known}


def show_settings(settings: Settings, origins: Origins) -> str:
    """One line a setting with its origin. Secrets (pydantic's SecretStr, passwords in URLs) are stars."""
    lines = [
        (f"{name} = {without_password(str(_value(settings, name)))}", origin)
        for name, origin in origins.items()
    ]
    width = max((len(line) for line, _ in lines), default=0)
    return "\n".join(f"{line.ljust(width)}  # {origin}" for line, origin in lines)


def without_password(text: str) -> str:
    """A URL as it may be shown; other text as it is."""
    return PASSWORD_PARAMETER.sub(r"\1***", USER_AND_PASSWORD.sub(r"\1***@", text))


def _value(settings: Settings, name: str) -> object:
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    is_words = isinstance(value, tuple) and value and all(isinstance(each, str) for each in value)
    return " ".join(map(str, value)) if is_words and isinstance(value, tuple) else value


def _leaves(model: type[BaseModel], section: str = "") -> Iterator[tuple[str, str]]:
    """(setting, standard environment name or "") of every setting, sections walked through."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _leaves(annotation, f"{section}{name}.")
        else:
            extra = field.json_schema_extra
            standard = extra.get("environment", "") if isinstance(extra, dict) else ""
            yield f"{section}{name}", str(standard)


def _nested(given: Mapping[str, tuple[object, str]]) -> dict[str, object]:
    tree: dict[str, Any] = {}
    for name, (value, _) in given.items():
        *sections, last = name.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return tree


# ------------------------------------------------------------------------------------------------ layers


def _from_standard_names(
    known: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, tuple[object, str]]:
    """systemd gives several folders separated by colons; the first one is ours."""
    return {
        name: (environment[standard].split(":")[0], f"environment {standard}")
        for name, standard in known.items()
        if standard and environment.get(standard)
    }


def _from_file(known: Mapping[str, str], file: Path) -> dict[str, tuple[object, str]]:
    try:
        content = tomllib.loads(_read(file))
    except (ValueError, RecursionError) as error:  # also of numbers, times and depths that Python can't hold
        raise SettingsError(f"{file}: is not TOML: {error}") from None
    found = {}
    for name, value in _flat(content, known):
        if name not in known:
            raise SettingsError(f"{file}: unknown setting {name}{_suggestion(name, known)}")
        found[name] = (value, f"file {file}")
    return found


def _flat(
    content: Mapping[str, object], known: Mapping[str, str], section: str = ""
) -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        name = f"{section}{key}"
        if (
            isinstance(value, dict)
            and name not in known
            and any(each.startswith(f"{name}.") for each in known)
        ):
            yield from _flat(value, known, f"{name}.")
        else:
            yield name, value


def _from_environment(
    known: Mapping[str, str], environment: Mapping[str, str], prefix: str
) -> dict[str, tuple[object, str]]:
    found: dict[str, tuple[object, str]] = {}
    for variable in sorted(environment):
        if not variable.startswith(prefix):
            continue
        name, value = variable.removeprefix(prefix).lower().replace("__", "."), environment[variable]
        if name not in known and name.removesuffix(FILE_SUFFIX) in known:
            name, value = name.removesuffix(FILE_SUFFIX), _read(Path(value), variable).strip()
        if name not in known:
            names = [_variable(each, prefix) for each in known]
            raise SettingsError(f"environment: unknown variable {variable}{_suggestion(variable, names)}")
        if name in found:
            raise SettingsError(
                f"environment: both {found[name][1].split()[1]} and {variable} are set; unset one"
            )
        found[name] = (value, f"environment {variable}")
    return found


def _read(file: Path, variable: str = "") -> str:
    origin = f"environment {variable}: " if variable else ""
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise SettingsError(f"{origin}{file}: is larger than {FILE_BYTES_MAX:,} bytes")
        return content.decode()
    except OSError as error:
        raise SettingsError(f"{origin}{file}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{origin}{file}: is not UTF-8 text") from None


# ------------------------------------------------------------------------------------------------- words


def _variable(name: str, prefix: str) -> str:
    return prefix + name.upper().replace(".", "__")


def _suggestion(name: str, known: Mapping[str, str] | list[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known)}"


def _explain(
    error: Mapping[str, Any], given: Mapping[str, tuple[object, str]], file: Path | None, prefix: str
) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        where = f" or put {name} = ... into {file}" if file is not None else ""
        return f"{name} is not set: set {_variable(name, prefix)}{where}"
    within = (".".join(map(str, error["loc"][:end])) for end in range(len(error["loc"]), 0, -1))
    origin = next((given[each][1] for each in within if each in given), "default")  # a list names itself
    return f"{origin}: {name}: {_wrong(error)}"


def _wrong(error: Mapping[str, Any]) -> str:
    """In the words of a settings file; pydantic's own are for programmers."""
    kind, context = str(error["type"]), error.get("ctx", {})
    words = {
        "string_type": "must be text",
        "path_type": "must be a path",
        "int_type": "must be a whole number",
        "int_parsing": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_type": "must be a number",
        "float_parsing": "must be a number",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "greater_than": f"must be more than {context.get('gt')}",
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "less_than_equal": f"must be at most {context.get('le')}",
        "literal_error": f"must be {context.get('expected')}",
    }
    if kind in words:
        return words[kind]
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{text[:1].lower()}{text[1:]}"
