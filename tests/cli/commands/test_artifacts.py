"""A package by its address, from the command line: fetched by the controller, and released."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from repave_controller.settings import ArtifactsSettings
from repave_protos.package.signing import signing_of
from tests.controller.api.conftest import a_package, sha256
from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.signing import Signer

CI = Signer()
URI = "s3://packages/{app}/{version}.tar.gz"


@pytest.fixture
def bucket() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The endpoint of a store of the kind of S3 that wants signed addresses, and what it has."""
    bodies: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            body = bodies.get(path)
            self.send_response(403 if "X-Amz-Signature=" not in query else 404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def controller(tmp_path: Path, bucket: tuple[str, dict[str, bytes]]) -> Iterator[ServedController]:
    keys = tmp_path / "keys.ini"
    keys.write_text("[default]\naws_access_key_id = repave\naws_secret_access_key = s3cret\n")
    s3 = {"packages": {"endpoint": bucket[0], "credentials": keys, "apps": ["hello"], "direct": True}}
    artifacts = ArtifactsSettings.model_validate({"s3": s3})
    signing = signing_of({"hello": [CI.line]})
    with served(tmp_path / "controller", artifacts=artifacts, signing=signing) as started:
        yield started


def test_a_release_fetches_its_package_and_its_signature(
    repave: CommandLine, controller: ServedController, bucket: tuple[str, dict[str, bytes]]
) -> None:
    spec = repave.folder / "repave.yaml"
    spec.write_text(SPEC.replace("./app", f"'{URI}'"))
    package = a_package("2.0")
    assert repave("validate").code == 0
    assert "artifact.uri is s3://packages/{app}/{version}.tar.gz: say which version" in repave("release").err
    gone = repave("release", "--version", "2.0")
    assert (gone.code, "check artifact.uri and the version" in gone.err) == (5, True)
    bucket[1]["/packages/hello/2.0.tar.gz"] = package
    assert "has no signature" in repave("plan", "--version", "2.0").err
    bucket[1]["/packages/hello/2.0.tar.gz.minisig"] = CI.minisign(package).encode()
    released = repave("release", "--version", "2.0")
    assert released.code == 0, released.err
    _is_led(controller, package, f"{bucket[0]}/packages/hello/2.0.tar.gz?X-Amz-")
    bucket[1]["/packages/hello/2.0.tar.gz"] = a_package("evil")
    changed = repave("release", "--version", "2.0", "-o", "json")
    assert (changed.code, changed.json["rule"]) == (5, "artifact-changed")
    assert repave("release", "--version", "2.0", "--sha256", sha256(package)).code == 0
    events = repave("events", "hello", "-o", "json").json["items"]
    assert [each["kind"] for each in events if each["kind"].startswith("artifact.")] == [
        "artifact.failed",
        "artifact.fetched",
        "artifact.failed",
    ]


def _is_led(controller: ServedController, package: bytes, where: str) -> None:
    """An agent that can be led goes to the store itself; another one has it from the controller."""
    host = controller.url.removeprefix("http://")
    for headers, status in (({"X-Repave-Directly": "yes"}, 307), ({}, 200)):
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("GET", f"/v1/images/{sha256(package)}", headers=headers)
        response = connection.getresponse()
        assert response.status == status
        assert response.headers.get("Location", "").startswith(where if status == 307 else "")
        connection.close()


def test_a_bucket_is_for_certain_applications(
    repave: CommandLine, bucket: tuple[str, dict[str, bytes]]
) -> None:
    bucket[1]["/packages/other/2.0.tar.gz"] = a_package("2.0")
    spec = repave.folder / "repave.yaml"
    spec.write_text(SPEC.replace("app: hello", "app: other").replace("./app", f"'{URI}'"))
    refused = repave("release", "--version", "2.0")
    assert (refused.code, "have no such bucket for other" in refused.err) == (5, True)


@pytest.mark.parametrize(
    ("artifact", "says"),
    [
        ("uri: 'http://a.example/{version}.tar.gz'", "http: is not taken: https://, s3://, or a path"),
        ("uri: 'file:///etc/{version}'", "file: is not taken"),
        ("uri: 'https://me:pw@a.example/{version}'", "credentials are no part of a spec"),
        ("uri: 'https://{version}.example/x'", "can't be part of the host"),
        ("uri: 'https://a.example/latest.tar.gz'", "another package may come from there at any time"),
        ("uri: 'https://a.example'", "names no file"),
        ("uri: 's3://Bad_Bucket/{version}'", "Bad_Bucket is no bucket"),
        ("uri: 'https://a.example/{version} x'", "no spaces"),
        (
            "uri: ./app, signature: 'https://a.example/x.minisig'",
            "can't be fetched for a package",
        ),
    ],
)
def test_validate_refuses_what_can_be_no_address_of_a_package(
    run: CommandLine, artifact: str, says: str
) -> None:
    (run.folder / "repave.yaml").write_text(SPEC.replace("uri: ./app", artifact))
    validated = run("validate")
    assert (validated.code, says in validated.err) == (2, True), validated.err


def test_a_digest_in_the_spec_lets_any_address_be_named(run: CommandLine) -> None:
    artifact = f"uri: 'https://a.example/latest.tar.gz', sha256: '{'0' * 64}'"
    (run.folder / "repave.yaml").write_text(SPEC.replace("uri: ./app", artifact))
    assert run("validate").code == 0
