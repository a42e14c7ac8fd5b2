"""The controller as a process: what it refuses to start with, and what it says."""

import asyncio
import json
import re
import socket
import sqlite3
import stat
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from repave_controller.__main__ import main
from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.serving.addresses import agents_url
from repave_controller.serving.admission import tell_admin_token
from repave_controller.serving.opening import refuse_loss
from repave_controller.settings import ControllerSettings
from repave_controller.stores.sqlite.store import SqliteStore
from tests.fakes.processes import ended, started
from tests.support.ports import free_ports

MODULE = "repave_controller"
ANY_PORT = {"REPAVE_CONTROLLER_HTTP__LISTEN": "127.0.0.1:0", "REPAVE_CONTROLLER_GRPC__LISTEN": "127.0.0.1:0"}


def settings(state: Path, **changes: str) -> dict[str, str]:
    named = {f"REPAVE_CONTROLLER_{name}": value for name, value in changes.items()}
    return {"REPAVE_CONTROLLER_STATE": str(state), **ANY_PORT, **named}


def refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    named: dict[str, str],
    *arguments: str,
) -> tuple[int, str]:
    """In this process: these refusals come before anything is started."""
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    code = main([*arguments])
    return code, capsys.readouterr().err


def test_a_misspelt_setting_is_named_with_the_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = refused(capsys, monkeypatch, settings(tmp_path, HTTP__LISTN="127.0.0.1:1"))
    assert code == 2
    assert told == (
        "repave-controller: environment: unknown variable REPAVE_CONTROLLER_HTTP__LISTN; "
        "did you mean REPAVE_CONTROLLER_HTTP__LISTEN?\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", ["http.listen", "grpc.listen"])
def test_an_address_that_others_reach_is_refused_with_the_way_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    name = setting.upper().replace(".", "__")
    code, told = refused(capsys, monkeypatch, settings(tmp_path, **{name: "0.0.0.0:7400"}))
    assert code == 1
    assert told.splitlines()[-1].startswith(
        f"repave-controller: {setting}: 0.0.0.0:7400 is not a loopback address"
    )
    assert "ssh -L" in told


def test_a_taken_port_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name in ("HTTP__LISTEN", "GRPC__LISTEN"):
            address = f"127.0.0.1:{port}"
            code, told = refused(capsys, monkeypatch, settings(tmp_path / name, **{name: address}))
            assert code == 1
            setting = name.lower().replace("__", ".")
            assert f"{setting}: can't listen on {address}" in told.splitlines()[-1]
            assert told.splitlines()[-1].endswith("is another controller running there?")


@pytest.mark.parametrize(
    ("listen", "names", "url"),
    [
        ("127.0.0.1:7444", "", "https://127.0.0.1:7444"),
        ("0.0.0.0:7444", "repave.example 10.0.0.1", "https://repave.example:7444"),
        ("[::]:7444", "2001:db8::1", "https://[2001:db8::1]:7444"),
        ("0.0.0.0:7444", "", f"https://{socket.gethostname()}:7444"),
        ("10.0.0.1:9", "", "https://10.0.0.1:9"),
    ],
)
def test_agents_are_told_an_address_that_they_can_reach(listen: str, names: str, url: str) -> None:
    given = {"agents": {"listen": listen}, "tls": {"names": names, "enabled": True}}
    assert agents_url(ControllerSettings.model_validate(given)) == url


def test_half_an_authority_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = refused(capsys, monkeypatch, settings(tmp_path, TLS__CA="/etc/ca.pem"))
    assert code == 2
    assert "ca and ca_key go together: set both, or neither" in told


def test_an_authority_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"TLS__CA": str(tmp_path / "ca.pem"), "TLS__CA_KEY": str(tmp_path / "ca.key")}
    code, told = refused(capsys, monkeypatch, settings(tmp_path / "state", TLS__ENABLED="true", **files))
    assert code == 1
    assert f"{tmp_path}/ca.pem, {tmp_path}/ca.key: No such file or directory" in told


def test_show_config_tells_where_each_setting_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "controller.toml"
    file.write_text('[grpc]\nlisten = "127.0.0.1:9"\n')
    monkeypatch.setenv("REPAVE_CONTROLLER_STATE", "/somewhere")
    assert main(["show-config", "--config", str(file)]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert shown == [
        "state = /somewhere # environment REPAVE_CONTROLLER_STATE",
        "accounts = False # default",
        "prices = None # default",
        "name = # default",
        "installation = # default",
        "store.url = # default",
        "store.direct_url = # default",
        "store.password_file = None # default",
        "http.listen = 127.0.0.1:7400 # default",
        "http.url = # default",
        "http.certificate = None # default",
        "http.key = None # default",
        "http.authority = None # default",
        f"grpc.listen = 127.0.0.1:9 # file {file}",
        "agents.listen = 127.0.0.1:7444 # default",
        "tls.enabled = False # default",
        "tls.names = # default",
        "tls.ca = # default",
        "tls.ca_key = # default",
        "limits.releases = 100 # default",
        "limits.regions_in_flight = 0 # default",
        "limits.hosts_in_flight_percent = 0.0 # default",
        "limits.extra_hosts = 0 # default",
        "retention.events_days = 90.0 # default",
        "retention.events_count = 1000000 # default",
        "retention.receipts_days = 30.0 # default",
        "retention.receipts_count = 100000 # default",
        "retention.history_days = 365.0 # default",
        "retention.history_count = 1000 # default",
        "retention.packages_days = 90.0 # default",
        "retention.packages_count = 0 # default",
        "retention.audit_days = 0.0 # default",
        "retention.audit_count = 0 # default",
        "retention.analyses_days = 90.0 # default",
        "retention.analyses_count = 50 # default",
        "packages.store = auto # default",
        "packages.cache_gb = 20.0 # default",
        "packages.bucket = # default",
        "packages.endpoint = # default",
        "packages.region = us-east-1 # default",
        "packages.credentials = None # default",
        "packages.prefix = # default",
        "packages.direct = False # default",
        "artifacts.allow = # default",
        "artifacts.authority = None # default",
        "artifacts.proxy = # default",
        "artifacts.seconds = 900.0 # default",
        "artifacts.credentials = {} # default",
        "artifacts.s3 = {} # default",
        "signatures = {} # default",
        "logs.format = auto # default",
        "logs.level = info # default",
        "analysis.sources = {} # default",
        "analysis.at_once = 8 # default",
        "oidc.issuer = # default",
        "oidc.client_id = # default",
        "oidc.client_secret_file = None # default",
        "oidc.authority = None # default",
        "oidc.scopes = openid profile email # default",
        "oidc.name_claim = email # default",
        "oidc.groups_claim = groups # default",
        "oidc.teams = {} # default",
        "oidc.admins = () # default",
        "oidc.domains = () # default",
        "oidc.groups = () # default",
        "oidc.expires_hours = 12.0 # default",
        "oidc.device = True # default",
        "oidc.loopback = 127.0.0.1 # default",
        "hooks = {} # default",
        "gitops = {} # default",
        "promotions = {} # default",
        "cloudevents = {} # default",
        "notify = {} # default",
    ]


async def with_an_event(state: Path, at: float) -> None:
    store = SqliteStore(state / "controller.db")
    await store.open()
    await store.commit(Transaction(events=(Event("x", "from before", at=Instant(at)),)))
    await store.close()


def test_the_database_of_a_newer_repave_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    asyncio.run(with_an_event(tmp_path, 1.0))
    with sqlite3.connect(tmp_path / "controller.db") as database:
        database.execute("pragma user_version = 99")
    database.close()
    code, told = ended(MODULE, **settings(tmp_path))
    assert code == 1
    assert "newer repave" in told
    assert "Traceback" not in told


def test_a_second_controller_on_one_directory_is_refused_naming_the_first(tmp_path: Path) -> None:
    with started(MODULE, "controller.started", **settings(tmp_path)) as (process, _):
        code, told = ended(MODULE, **settings(tmp_path))
        assert code == 1
        assert f"process {process.pid}" in told
        assert "Traceback" not in told


def test_a_clock_that_was_set_back_is_told_in_the_log_the_events_and_by_the_doctor(tmp_path: Path) -> None:
    future = time.time() + 7200.0
    asyncio.run(with_an_event(tmp_path, future))
    http, grpc = free_ports(2)
    addresses = {"HTTP__LISTEN": f"127.0.0.1:{http}", "GRPC__LISTEN": f"127.0.0.1:{grpc}"}
    with started(MODULE, "clock.set_back", **settings(tmp_path, **addresses)):
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/v1/doctor", timeout=20) as response:
            checks = {each["name"]: each for each in json.load(response)["items"]}
        url = f"http://127.0.0.1:{http}/v1/events/stream?after=1"
        with urllib.request.urlopen(url, timeout=20) as stream:
            told = json.loads(next(line for line in stream if line.startswith(b"data: "))[6:])
    assert checks["clock"]["state"] == "warn"
    assert "this machine's clock is 7" in checks["clock"]["text"]
    assert "NTP" in checks["clock"]["remedy"]
    assert told["kind"] == "clock.set_back"
    first, second = asyncio.run(events(tmp_path))[:2]
    assert future <= first.at <= second.at


async def events(state: Path) -> list[Event]:
    store = SqliteStore(state / "controller.db")
    await store.open()
    found = list(await store.events())
    await store.close()
    return found


def test_a_store_made_in_place_of_a_lost_one_takes_its_name_and_no_other_store_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "controller.db")
    installation = asyncio.run(opened(store))
    code, told = refused(capsys, monkeypatch, settings(tmp_path, INSTALLATION="lost-one"))
    assert code == 1
    assert f"is called {installation}, not lost-one; leave the setting out" in told
    code, told = refused(capsys, monkeypatch, settings(tmp_path, INSTALLATION="../x"))
    assert code == 2
    fresh = tmp_path / "fresh"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        named = settings(fresh, INSTALLATION="lost-one", HTTP__LISTEN=address)
        code, _ = refused(capsys, monkeypatch, named)
        assert code == 1, "it stops at the port, after the store was made"
    assert asyncio.run(opened(SqliteStore(fresh / "controller.db"))) == "lost-one"


async def opened(store: SqliteStore) -> str:
    """The name of the store."""
    loaded = await store.open()
    await store.close()
    return loaded.installation


@pytest.mark.parametrize("left", ["gone", "empty"])
def test_a_lost_store_beside_packages_is_not_begun_anew_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f"{'a' * 64}.tar.gz").touch()
    if left == "empty":
        (tmp_path / "controller.db").touch()
    code, told = refused(capsys, monkeypatch, settings(tmp_path))
    assert code == 1
    assert f"controller.db is {left}, and {tmp_path}/images holds 1 packages" in told
    assert "start with --new" in told


def test_a_new_store_is_begun_on_request(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f"{'a' * 64}.tar.gz").touch()
    refuse_loss(tmp_path / "other")
    with pytest.raises(StoreError):
        refuse_loss(tmp_path)
    with started(MODULE, "controller.started", "run", "--new", **settings(tmp_path)) as (_, lines):
        assert lines


# -------------------------------------------------------------------------------------------------- accounts

TOKEN = re.compile(r"rpv_[0-9a-f]{12}_[0-9a-f]{64}")


def asked(port: int, token: str, path: str = "whoami") -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_first_start_with_accounts_prints_the_admin_s_token_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    http, grpc = free_ports(2)
    named = settings(tmp_path, HTTP__LISTEN=f"127.0.0.1:{http}", GRPC__LISTEN=f"127.0.0.1:{grpc}")
    with started(MODULE, "controller.started", "--accounts", **named) as (_, lines):
        (first,) = TOKEN.findall("\n".join(lines))
        assert [line for line in lines if first in line] == [first], "it stands in no line of the log"
        assert (asked(http, first), asked(http, "")) == (200, 401)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    assert main(["admin-token"]) == 0
    (second,) = TOKEN.findall(capsys.readouterr().out)
    with started(MODULE, "controller.started", "--accounts", **named) as (_, lines):
        assert TOKEN.findall("\n".join(lines)) == []
        assert (asked(http, first), asked(http, second)) == (200, 200)
    assert first.split("_")[2].encode() not in (tmp_path / "controller.db").read_bytes()


def test_in_the_system_s_journal_there_is_no_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    tell_admin_token(tmp_path, "rpv_secret")
    file = tmp_path / "admin-token"
    assert "rpv_secret" not in "".join(capsys.readouterr())
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("rpv_secret\n", 0o600)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({}, "--accounts, and the settings tls.enabled or http.certificate"),
        ({"ACCOUNTS": "true"}, "tls.enabled"),
        ({"TLS__ENABLED": "true"}, "--accounts"),
        ({"ACCOUNTS": "true", "HTTP__CERTIFICATE": "/c"}, "http.certificate and http.key belong together"),
        ({"ACCOUNTS": "true", "HTTP__CERTIFICATE": "/c", "HTTP__KEY": "/k"}, "http.certificate: /k: No such"),
    ],
)
def test_beyond_this_machine_it_takes_accounts_and_tls(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    named: dict[str, str],
    expected: str,
) -> None:
    code, told = refused(capsys, monkeypatch, settings(tmp_path, HTTP__LISTEN="0.0.0.0:0", **named))
    assert (code, expected in told) == (1, True), told
    assert not (tmp_path / "controller.db").exists()
