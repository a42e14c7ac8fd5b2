"""Input that means harm or is broken: always refused in the same form, never with anything of our insides."""

import errno
import gzip
import io
import json
import os
import tarfile
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repave_controller.fleet import packages
from tests.controller.api.conftest import SPEC, a_package
from tests.fakes.controller.asking import Answered
from tests.fakes.controller.scheduler import ServedController

INSIDES = ("Traceback", "site-packages", ".py", "repave_controller", "Error(", "object at 0x")


def is_a_problem(answer: Answered, status: int | None = None) -> dict[str, Any]:
    """The problem, checked to be a whole one that tells nothing of our insides."""
    problem: dict[str, Any] = answer.json
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "rule", "problems", "facts", "remedy"}
    assert problem["status"] == answer.status
    assert status in (None, answer.status), problem
    assert 400 <= answer.status < 500, problem
    assert problem["type"] == f"urn:repave:problem:{problem['rule']}"
    assert problem["detail"]
    for inside in INSIDES:
        assert inside not in answer.content.decode()
    return problem


# ----------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    "body",
    [
        b'{"reason": ' + b"1" * 5000 + b"}",
        b'{"reason": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"reason": NaN}',
        b'{"reason": {"reason": 1, "reason": 2}}',
        b"null",
        b"",
        b"\x00",
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: body[:30],
)
def test_json_that_is_none_is_a_bad_request(api: Any, body: bytes) -> None:
    api.release()
    problem = is_a_problem(api.post("applications/hello/abort", body), 400)
    assert problem["rule"] in ("not-json", "bad-request")


def test_every_wrong_field_is_named(api: Any) -> None:
    answer = api.post("applications/hello/releases", {"spec": 1, "digest": "A" * 64, "queu": True})
    problem = is_a_problem(answer, 400)
    assert {each["field"] for each in problem["problems"]} == {"spec", "digest", "queu"}
    assert problem["detail"].startswith(problem["problems"][0]["field"])


@pytest.mark.parametrize("key", ["\xff\xfe", "a b", "x" * 5000, "ключ".encode().decode("latin-1")])
def test_an_idempotency_key_may_be_anything_that_http_can_carry(api: Any, key: str) -> None:
    first, again = api.release(key=key), api.release(key=key)
    assert (first.status, again.status) == (202, 202)
    assert (first.json["is_joined"], again.json["is_joined"]) == (False, True)


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(b"{}")[:-6]], ids=["garbage", "cut"])
def test_a_body_that_cannot_be_unpacked_is_a_bad_request(api: Any, body: bytes) -> None:
    for path in ("plan", "images"):
        is_a_problem(api.post(path, body, **{"Content-Encoding": "gzip"}), None)


def test_a_body_that_unpacks_beyond_the_limit_is_refused(api: Any) -> None:
    body = gzip.compress(b" " * (8 << 20))
    is_a_problem(api.post("plan", body, **{"Content-Encoding": "gzip"}), 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nothing", 404),
        ("GET", "applications/nobody", 404),
        ("GET", "applications/nobody/stream", 404),
        ("GET", "applications/..%2f..%2fetc", 404),
        ("GET", "applications/%00", 404),
        ("GET", "images/" + "A" * 64, 404),
        ("GET", "events?after=%D9%A1", 400),
        ("GET", "events?limit=1e3", 400),
        ("GET", "hosts?log_lines=1001", 400),
        ("PUT", "plan", 405),
        ("DELETE", "applications/hello", 405),
    ],
)
def test_a_wrong_address_is_a_problem(api: Any, method: str, path: str, status: int) -> None:
    is_a_problem(api.ask(method, path), status)


def test_a_method_that_is_not_allowed_is_told_with_those_that_are(api: Any) -> None:
    assert api.ask("DELETE", "plan").headers["Allow"] == "POST"


def test_a_release_to_another_address_than_its_spec_is_refused(api: Any) -> None:
    body = {"spec": SPEC, "digest": api.push()}
    problem = is_a_problem(api.post("applications/other/releases", body), 422)
    assert "hello" in problem["detail"]


def test_every_error_of_a_spec_has_its_place_and_its_fix(api: Any) -> None:
    spec = SPEC.replace("port: 8000", "port: 99999").replace("size: 2", "size: -1")
    body = {"spec": spec, "filename": "web.yaml", "digest": "a" * 64}
    problem = is_a_problem(api.post("applications/hello/releases", body), 422)
    assert problem["rule"] == "spec"
    assert {(each["file"], each["line"], each["field"]) for each in problem["problems"]} == {
        ("web.yaml", 6, "traffic.port"),
        ("web.yaml", 8, "regions.0.size"),
    }
    assert all(each["column"] and each["message"] for each in problem["problems"])


# ------------------------------------------------------------------------------------------------ packages


def a_tarball(change: Any) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        member = tarfile.TarInfo("serve")
        change(member)
        content = b"x" * member.size
        archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return sink.getvalue()


def named(name: str) -> Any:
    return lambda member: setattr(member, "name", name)


def special(kind: bytes, target: str = "") -> Any:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname = kind, target

    return change


@pytest.mark.parametrize(
    ("package", "told"),
    [
        (a_tarball(named("../serve")), "../serve"),
        (a_tarball(named("/etc/passwd")), "/etc/passwd"),
        (a_tarball(special(tarfile.CHRTYPE)), "serve"),
        (a_tarball(special(tarfile.BLKTYPE)), "serve"),
        (a_tarball(special(tarfile.FIFOTYPE)), "serve"),
        (a_tarball(special(tarfile.SYMTYPE, "../../etc")), "serve"),
        (a_tarball(special(tarfile.SYMTYPE, "/etc/passwd")), "serve"),
        (a_tarball(special(tarfile.LNKTYPE, "/etc/passwd")), "/etc/passwd"),
        (a_package("v1")[:-20], ""),
        (a_package("v1")[:5], ""),
        (gzip.compress(b"no tarball at all"), ""),
        (b"", ""),
    ],
    ids=[
        "dots",
        "absolute",
        "character device",
        "block device",
        "pipe",
        "link up",
        "absolute link",
        "hard link out",
        "cut",
        "cut early",
        "no tarball",
        "empty",
    ],
)
def test_a_package_that_would_do_harm_or_is_broken_is_not_kept(
    api: Any, controller: ServedController, package: bytes, told: str
) -> None:
    problem = is_a_problem(api.post("images", package), 422)
    assert problem["rule"] == "image"
    assert told in problem["detail"]
    assert api.get("images").json["items"] == []
    assert list((controller.directory / "images").iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 201, "two\tlines", "\xff"])
def test_a_packages_name_is_one_line(api: Any, name: str) -> None:
    is_a_problem(api.post("images", a_package("v1"), **{"X-Repave-Name": name}), 422)


@pytest.mark.parametrize(("fault", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 503)])
def test_a_disk_that_does_not_take_a_package_is_not_the_packages_fault(
    api: Any, monkeypatch: pytest.MonkeyPatch, fault: int, status: int
) -> None:
    def fail(_: object) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(packages, "_sync", fail)
    answer = api.post("images", a_package("v1"))
    assert (answer.status, answer.json["rule"]) == (status, "image-storage")


# ---------------------------------------------------------------------------------------------------- fuzz

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["spec", "digest", "version", "reason", "by", "queue", "plan", "force", "filename", "from", "to", "zone"]
)
LINES = st.lists(st.sampled_from(SPEC.splitlines()) | st.text(max_size=30), max_size=12).map("\n".join)
SPECS = st.just(SPEC) | LINES | st.text(max_size=200)
BODIES = (
    st.binary(max_size=60)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {"spec": SPECS, "digest": st.just("a" * 64)}, optional={"version": st.text(max_size=70)}
    ).map(lambda value: json.dumps(value).encode())
    | st.dictionaries(FIELDS, VALUES, max_size=4).map(lambda value: json.dumps(value).encode())
)
PATHS = st.sampled_from(
    [
        "plan",
        "images",
        "freezes/all",
        "freezes",
        "applications/hello/releases",
        "applications/hello/abort",
        "applications/x/rollback",
    ]
)


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(path=PATHS, body=BODIES)
def test_no_body_whatever_makes_the_controller_fail(api: Any, path: str, body: bytes) -> None:
    answer = api.post(path, body)
    if answer.status >= 300:
        is_a_problem(answer)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    path=st.sampled_from(["events?after=", "events?limit=", "hosts?log_lines=", "applications/", "images/"]),
    text=st.text(max_size=30),
)
def test_no_address_whatever_makes_the_controller_fail(api: Any, path: str, text: str) -> None:
    answer = api.get(path + quote(text, safe="", errors="surrogatepass"))
    if answer.status >= 300:
        is_a_problem(answer)
