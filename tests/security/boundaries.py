"""Every boundary that strangers' bytes cross, as a strategy and a check. The check fails where something else
comes out than a value or a refusal in words. A moment in `make test`, minutes in `make fuzz`.
"""

import gzip
import json
import tempfile
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from repave_agent.settings import AgentSettings
from repave_controller.settings import ControllerSettings
from repave_controller.spec.loader import Problem, SpecError, load
from repave_protos.daemon.settings import SettingsError, load_settings
from repave_protos.package.archive import PackageFormatError, inspect, unpack
from repave_protos.package.tree import Limits
from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol import wire
from tests.fakes import raw_tar
from tests.fakes.controller.asking import Asking

HOSTILE = (
    "../../etc/passwd", "..%2f..", "/etc/passwd", "a\r\nSet-Cookie: x=1", "\x00", "\x1b[2J", "\u202egnp",
    "-rf", "--help", "$(reboot)", "`id`", "; ls", "{{7*7}}", "${jndi:ldap://evil.example}", "' OR 1=1 --",
    "<script>alert(1)</script>", "=1+1", "\ufeff", "caf\u0065\u0301", "\U0001f600", "a" * 300, ".", "..", "%",
    "%00", "*", "[", "[!a]", "?", "\\", "null", "NaN", "0x10", "1e999", "\u0661", "",
)  # fmt: skip
WORDS = st.sampled_from(HOSTILE) | st.text(max_size=20)


@dataclass(frozen=True, slots=True)
class Boundary:
    """`check` gets what `given` draws."""

    given: st.SearchStrategy[Any]
    check: Callable[[Any], None]


# --------------------------------------------------------------------------------------------- the protocol

NUMBERS = {
    FieldDescriptor.CPPTYPE_UINT32: st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, 70_000),
    FieldDescriptor.CPPTYPE_UINT64: st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats() | st.sampled_from([0.0, -0.0, 1e308, -1.0, 60.0]),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 9) | st.sampled_from([2**31 - 1, -1]),
    FieldDescriptor.CPPTYPE_STRING: WORDS.map(lambda text: text.encode(errors="replace").decode())
    | st.sampled_from(["shop", "shop-v001", "0" * 16, "0" * 64, "x" * 70_000]),
}
DEPTH_MAX = 6


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor, depth: int = 0) -> Any:
    """Any message of this kind: all fields that it may have, with any value that protobuf can carry."""
    message: Any = getattr(pb, kind.full_name.removeprefix(f"{pb.DESCRIPTOR.package}."))()
    for field in kind.fields:
        if field.containing_oneof is not None and message.WhichOneof(field.containing_oneof.name):
            continue
        if depth > DEPTH_MAX or not draw(st.booleans()):
            continue
        values = [
            draw(_value(field, depth)) for _ in range(draw(st.integers(0, 2)) if field.is_repeated else 1)
        ]
        place = getattr(message, field.name)
        if field.message_type is not None and field.is_repeated:
            place.extend(values)
        elif field.message_type is not None:
            place.CopyFrom(values[0])
        elif field.is_repeated:
            place.extend(values)
        else:
            setattr(message, field.name, values[0])
    return message


def _value(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type, depth + 1)
    return NUMBERS[field.cpp_type]


def damaged(sound: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The same with some bytes changed, cut out, or repeated."""

    def damage(content: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
        for place, length, instead in cuts:
            at = place % (len(content) + 1)
            content = content[:at] + instead + content[at + length :]
        return content

    cut = st.tuples(st.integers(0, 1 << 16), st.integers(0, 4), st.binary(max_size=4))
    return st.builds(damage, sound, st.lists(cut, max_size=4))


def decodes(message: bytes) -> None:
    """What is understood can be sent on as it is."""
    with suppress(wire.WireError):
        value = wire.decode_from_agent(message)
        assert wire.decode_from_agent(wire.encode_from_agent(value)) == value
    with suppress(wire.WireError):
        other = wire.decode_from_controller(message)
        assert wire.decode_from_controller(wire.encode_from_controller(other)) == other


SENT = st.one_of(messages(pb.FromAgent.DESCRIPTOR), messages(pb.FromController.DESCRIPTOR)).map(
    lambda message: bytes(message.SerializeToString())
)

# ------------------------------------------------------------------------------------------------ packages

LIMITS = Limits(unpacked_bytes=1 << 20)
NAMES = st.sampled_from(["a", "a/b", "./a", "a/../b", "a//b", "x" * 99, "é", *HOSTILE]).map(
    lambda name: name.encode(errors="replace")[:99].decode(errors="ignore")
)
KINDS = st.sampled_from(
    [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"L", b"K", b"x", b"g", b"S", b"\0", b"Z"]
)
MAGICS = st.sampled_from([raw_tar.USTAR, raw_tar.GNU, raw_tar.NONE])
MEMBERS = st.one_of(
    st.builds(raw_tar.block, NAMES, st.integers(0, 1 << 33), KINDS, NAMES, MAGICS),
    st.builds(raw_tar.file, NAMES, MAGICS),
    st.builds(
        lambda name, value: raw_tar.pax((name, value)),
        st.sampled_from(
            [
                "path",
                "linkpath",
                "size",
                "mtime",
                "mode",
                "GNU.sparse.map",
                "GNU.sparse.major",
                "hdrcharset",
                "uid",
            ]
        ),
        WORDS.map(lambda text: text.encode(errors="replace").decode()),
    ),
    st.builds(raw_tar.long, NAMES, st.sampled_from([b"L", b"K"])),
)
TARS = st.lists(MEMBERS, max_size=4).map(lambda parts: b"".join(parts) + bytes(1024))
PACKAGES = damaged(TARS).map(lambda tar: gzip.compress(tar, 1)) | damaged(
    TARS.map(lambda tar: gzip.compress(tar, 1))
)


def unpacks(package: bytes) -> None:
    """Both readers agree, and nothing comes to lie, or leads, outside."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / "package").write_bytes(package)
        found, refused, unpacking = None, "", ""
        try:
            found = inspect(top / "package", LIMITS)
        except PackageFormatError as error:
            refused = str(error)
        try:
            assert unpack(top / "package", top / "into", LIMITS) == found
        except PackageFormatError as error:
            unpacking = str(error)
        assert refused == unpacking
        assert {each.name for each in top.iterdir()} <= {"package", "into"}
        for each in (top / "into").rglob("*"):
            assert not each.is_symlink() or each.resolve().is_relative_to(top / "into")


# ---------------------------------------------------------------------------------------- specs, settings

SPEC = """\
repave: 1
app: hello
x-base: &base {port: 8080, path: /}
artifact: {uri: ./app}
host: {image: local, run: ./serve, env: {A: "1"}}
health: {http: {<<: *base}, min_healthy_time: 0s}
traffic: {frontend: hello, port: 8000}
regions:
  - {name: paris, size: 2}
  - {name: oslo, size: 3}
strategy: {steps: [{scale: 100%}, {verify: {}}, {weight: 100%}]}
rollback: {keep: {for: 1h}}
"""
PIECES = (
    "*base", "&base", "<<:", "!!binary", "!x", "[", "]", "{", "}", ": ", "- ", "\n", "  ", "\t", "#", "---",
    "|", ">", "'", '"', "\\U00110000", "\\x", "? ", "~", "0o7", "1_0", "1e3", ".inf", "2026-99-99", "yes",
    "%YAML",
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(0, 30), st.sampled_from(PIECES) | WORDS),
    min_size=1,
    max_size=6,
)


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for place, length, instead in edits:
        at = place % (len(text) + 1)
        text = text[:at] + instead + text[at + length :]
    return text


def is_spec(text: str) -> None:
    problems: tuple[Problem, ...] | None = None
    try:
        load(text, "repave.yaml")
    except SpecError as error:
        problems = error.problems
    assert problems is None or (problems and all(each.file and each.message for each in problems))


SETTINGS = """\
state = "/var/lib/repave"
accounts = true
log = "json"
[http]
listen = "0.0.0.0:7400"
url = "https://repave.example:7400"
[tls]
enabled = true
names = ["repave.example"]
[limits]
releases = 100
hosts_in_flight_percent = 10.5
"""
TOML_PIECES = (
    "[[",
    "]]",
    "[",
    "]",
    "=",
    ".",
    '"',
    '"""',
    "'",
    "\n",
    "1979-99-99",
    "inf",
    "nan",
    "0x",
    "1e999",
    "{",
    "}",
)
TOML_EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 20), st.sampled_from(TOML_PIECES) | WORDS),
    min_size=1,
    max_size=5,
)


def are_settings(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.toml"
        file.write_bytes(text.encode(errors="surrogatepass"))
        for model in (ControllerSettings, AgentSettings):
            with suppress(SettingsError):
                load_settings(model, file, {}, "REPAVE_X_")
    with suppress(tomllib.TOMLDecodeError, ValueError):
        tomllib.loads(text)


BOUNDARIES = {
    "bytes of the protocol": Boundary(st.binary(max_size=300) | damaged(SENT), decodes),
    "messages of the protocol": Boundary(SENT, decodes),
    "packages": Boundary(PACKAGES | st.binary(max_size=100), unpacks),
    "specs": Boundary(EDITS.map(lambda edits: edited(SPEC, edits)) | st.text(max_size=100), is_spec),
    "settings": Boundary(TOML_EDITS.map(lambda edits: edited(SETTINGS, edits)), are_settings),
}

# --------------------------------------------------------------------------------------------- the HTTP API

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "Content-Encoding",
            "Idempotency-Key",
            "Last-Event-ID",
            "X-Repave-Name",
            "X-Repave-Digest",
            "Range",
            "If-Range",
            "If-Modified-Since",
            "Expect",
            "Upgrade",
            "Connection",
            "Accept",
            "Authorization",
            "Origin",
            "Cookie",
            "X-Forwarded-For",
            "X-HTTP-Method-Override",
            "If-None-Match",
        ]
    ),
    (
        WORDS
        | st.sampled_from(
            [
                "application/json",
                "gzip",
                "deflate",
                "bytes=0-",
                "bytes=9-1",
                "websocket",
                "br",
                "Upgrade",
                "text/plain; charset=x",
                "multipart/form-data; boundary=x",
                "100-continue",
                "close",
                "zstd",
            ]
        )
    ).map(lambda text: "".join(each for each in text if " " <= each <= "~").strip()),
    max_size=3,
)


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: bytes | None
    headers: dict[str, str]


def requests_of(document: dict[str, Any]) -> st.SearchStrategy[Request]:
    """Of all that the API's own description tells of: each route, with values of its fields and others."""
    routes = sorted(
        (method.upper(), path, _fields(told, document))
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        if not path.endswith("stream")
    )
    return st.sampled_from(routes).flatmap(lambda route: _request(*route))


def _fields(told: dict[str, Any], document: dict[str, Any]) -> tuple[str, ...]:
    schema = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    named = str(schema.get("$ref", "")).rpartition("/")[2]
    schema = document.get("components", {}).get("schemas", {}).get(named, schema)
    return tuple(sorted(schema.get("properties", {})))


KNOWN = st.sampled_from(["hello", "paris", "oslo", "hello-v001", "a" * 64, "0123456789ab", SPEC])


@st.composite
def _request(draw: st.DrawFn, method: str, path: str, fields: tuple[str, ...]) -> Request:
    parts = [
        quote(draw(KNOWN | WORDS), safe="", errors="surrogatepass") if part.startswith("{") else part
        for part in path.split("/")
    ]
    query = draw(
        st.just({})
        | st.dictionaries(
            st.sampled_from(
                ["after", "limit", "region", "group", "gone", "newest", "log_lines", "application", "x"]
            ),
            WORDS,
            max_size=2,
        )
    )
    asked = "&".join(
        f"{name}={quote(value, safe='', errors='surrogatepass')}" for name, value in query.items()
    )
    body: bytes | None = None
    if method == "POST":
        chosen = st.sampled_from(fields) if fields else WORDS
        body = draw(
            st.dictionaries(chosen, KNOWN | VALUES, max_size=5).map(lambda value: json.dumps(value).encode())
            | st.binary(max_size=60)
        )
    headers = {"Content-Type": "application/json", **draw(HEADERS)}
    return Request(method, "/".join(parts) + (f"?{asked}" if asked else ""), body, headers)


def is_answered(api: Asking, request: Request) -> None:
    """No request makes the controller fail: it is obeyed, or refused as a problem in JSON."""
    answer = api.ask(request.method, request.path, request.body, request.headers)
    assert answer.status < 500 or answer.json["rule"] in ("store", "image-storage"), answer.content
    if answer.status >= 400 and request.method != "HEAD":
        assert answer.json["status"] == answer.status
        assert answer.json["detail"]
    for name, value in answer.headers.items():
        assert not set(name + value) & {"\r", "\n", "\0"}
