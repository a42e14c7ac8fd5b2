"""What a controller and an agent start with when little is said."""

from pathlib import Path

import pytest

from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.registry import installed
from repave_agent.settings import AgentSettings
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.limits import Limits
from repave_controller.serving.packages import images_of
from repave_controller.settings import ControllerSettings
from repave_protos.daemon.settings import SettingsError, load_settings
from repave_protos.package.signing import signing_of
from repave_simulation.tiers.store import MemoryStore
from tests.fakes.signing import Signer
from tests.fakes.sigstore import ISSUER, WORKFLOW, Sigstore


def agent(**environment: str) -> AgentSettings:
    named = {f"REPAVE_AGENT_{name}": value for name, value in environment.items()}
    return load_settings(installed().settings_model(), None, named, "REPAVE_AGENT_")[0]


def test_a_controller_needs_no_settings_and_listens_on_loopback() -> None:
    settings, _ = load_settings(ControllerSettings, None, {}, "REPAVE_CONTROLLER_")
    assert (settings.http.listen, settings.grpc.listen) == ("127.0.0.1:7400", "127.0.0.1:7443")
    assert settings.state == Path("/var/lib/repave")


def test_limits_over_all_applications_can_be_set_and_only_rollouts_are_bounded_at_first() -> None:
    def limits(**environment: str) -> Limits:
        named = {f"REPAVE_CONTROLLER_LIMITS__{name}": value for name, value in environment.items()}
        return load_settings(ControllerSettings, None, named, "REPAVE_CONTROLLER_")[0].limits.in_force

    assert limits() == Limits(releases=100)
    assert limits(RELEASES="0", HOSTS_IN_FLIGHT_PERCENT="12.5") == Limits(0, 0, 12.5, 0)
    assert limits(REGIONS_IN_FLIGHT="3", EXTRA_HOSTS="50") == Limits(100, 3, 0.0, 50)
    for name, value in (("RELEASES", "-1"), ("HOSTS_IN_FLIGHT_PERCENT", "101"), ("EXTRA_HOSTS", "few")):
        with pytest.raises(SettingsError, match=f"limits.{name.lower()}"):
            limits(**{name: value})


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"store": "s3", "bucket": "ours"}, "credentials"),
        ({"store": "s3", "credentials": "/keys"}, "needs bucket"),
        ({"bucket": "ours"}, 'are for store = "s3"'),
        ({"store": "database", "direct": "true"}, 'are for store = "s3"'),
        (
            {"store": "s3", "bucket": "ours", "credentials": "/keys", "endpoint": "http://s3.example"},
            "endpoint",
        ),
        ({"store": "bucket"}, "directory"),
        ({"prefix": "no-slash"}, "prefix"),
    ],
)
def test_packages_that_could_be_nowhere_are_refused_with_the_setting(
    given: dict[str, str], fault: str
) -> None:
    named = {f"REPAVE_CONTROLLER_PACKAGES__{name.upper()}": value for name, value in given.items()}
    with pytest.raises(SettingsError, match=fault):
        load_settings(ControllerSettings, None, named, "REPAVE_CONTROLLER_")


def test_packages_in_the_database_need_a_store_that_is_in_one(tmp_path: Path) -> None:
    named = {"REPAVE_CONTROLLER_PACKAGES__STORE": "database", "REPAVE_CONTROLLER_STATE": str(tmp_path)}
    settings, _ = load_settings(ControllerSettings, None, named, "REPAVE_CONTROLLER_")
    with pytest.raises(ValueError, match=r"packages\.store: .*store\.url"):
        images_of(settings, MemoryStore(), lambda: Instant(0.0))


def test_keys_that_must_have_signed_packages_are_read_at_the_start(tmp_path: Path) -> None:
    """Of controllers and agents alike; a key that can't be read keeps them from starting."""
    line = Signer().line
    (tmp_path / "ci.pub").write_text(f"untrusted comment: of CI\n{line}\n")
    file = tmp_path / "settings.toml"
    for model, prefix in (
        (ControllerSettings, "REPAVE_CONTROLLER_"),
        (installed().settings_model(), "REPAVE_AGENT_"),
    ):
        unset = {"REPAVE_AGENT_REGION": "paris"} if prefix == "REPAVE_AGENT_" else {}
        file.write_text(f'[signatures]\n"web-*" = ["{tmp_path}/ci.pub", "{line}"]\n')
        signatures = load_settings(model, file, unset, prefix)[0].model_dump()["signatures"]
        assert [key.name for key in signing_of(signatures).keys_for("web-1")] == ["ci", ""]
        said = {**unset, f"{prefix}SIGNATURES": f'{{"*": ["{line}"]}}'}
        assert load_settings(model, None, said, prefix)[0].model_dump()["signatures"] == {"*": [line]}
        file.write_text('[signatures]\n"web-*" = ["/no/such.pub"]\n')
        with pytest.raises(SettingsError, match=r"signatures.*/no/such.pub: can't be read"):
            load_settings(model, file, unset, prefix)


def test_identities_that_must_have_signed_packages_are_read_at_the_start(tmp_path: Path) -> None:
    """As a table, beside keys; one that lets in more than is meant, or has no root, keeps from starting."""
    line, root, file = Signer().line, tmp_path / "trusted_root.json", tmp_path / "settings.toml"
    root.write_text(Sigstore().trusted_root())
    unset = {"REPAVE_AGENT_REGION": "paris"}
    rule = f'identity = "{WORKFLOW}", issuer = "{ISSUER}", trusted_root = "{root}"'
    for model, prefix in (
        (ControllerSettings, "REPAVE_CONTROLLER_"),
        (installed().settings_model(), "REPAVE_AGENT_"),
    ):
        given = unset if prefix == "REPAVE_AGENT_" else {}
        file.write_text(f'[signatures]\n"web-*" = ["{line}", {{{rule}}}]\n')
        signatures = getattr(load_settings(model, file, given, prefix)[0], "signatures")  # noqa: B009
        named = signing_of(signatures).keys_for("web-1")
        assert str(named[1]) == f"{WORKFLOW} (sigstore, {ISSUER})"
        for wrong, says in (
            (rule.replace("refs/heads/main", "*"), "taken only as the end of a branch or tag"),
            (rule.replace(str(root), "/no/such.json"), "trusted_root /no/such.json: can't be read"),
            (rule.replace("issuer", "isuer"), "signatures"),
        ):
            file.write_text(f'[signatures]\n"web-*" = [{{{wrong}}}]\n')
            with pytest.raises(SettingsError, match=says):
                load_settings(model, file, given, prefix)


def test_an_agent_needs_its_region_only() -> None:
    settings = agent(REGION="paris-east")
    assert settings.region == "paris-east"
    assert settings.controller == ("127.0.0.1:7443",)
    assert settings.section("haproxy", HaproxyOptions).redispatch
    assert settings.limits.launches_in_flight == 20
    with pytest.raises(SettingsError, match="REPAVE_AGENT_REGION"):
        agent()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REGION", "Paris"),
        ("REGION", "../paris"),
        ("PROVIDER", "mainframe"),
        ("BALANCER", "nginx"),
        ("LOCAL__ADDRESSES", "10.0.0.0/8"),
        ("LOCAL__ADDRESSES", "127.80.0.1/16"),
        ("LOCAL__ISOLATION", "docker"),
        ("LIMITS__LAUNCHES_IN_FLIGHT", "0"),
        ("HAPROXY__REDISPATCH", "maybe"),
        ("LOGS__FORMAT", "xml"),
    ],
)
def test_an_agent_refuses_what_it_cannot_do(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"REPAVE_AGENT_{name}: {name.lower().replace('__', '.')}"):
        agent(**{"REGION": "paris", name: value})


def controller(**environment: str) -> ControllerSettings:
    named = {f"REPAVE_CONTROLLER_{name}": value for name, value in environment.items()}
    return load_settings(ControllerSettings, None, named, "REPAVE_CONTROLLER_")[0]


def test_decisions_are_kept_in_a_file_unless_a_database_is_named() -> None:
    assert controller().store.url == ""
    hosts = ("db.example", "a,b", "a:5432,[::1]:5433,b", "[::1]", "")
    for url in [f"postgresql://repave@{each}/repave?host=/run" for each in hosts]:
        assert controller(STORE__URL=url, STORE__PASSWORD_FILE="/run/password").store.url == url


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"STORE__URL": "mysql://repave:secret@db/repave"}, "store.url: expected postgresql://"),
        ({"STORE__URL": "postgresql://repave:secret@db"}, "store.url: expected postgresql://"),
        ({"STORE__URL": "/var/lib/repave"}, "store.url: expected postgresql://"),
        ({"STORE__URL": "postgresql://repave:secret@db:x/repave"}, "store.url: expected postgresql://"),
        (
            {"STORE__URL": "postgresql://repave:secret@a:1,b:65536/repave"},
            "store.url: expected postgresql://",
        ),
        ({"STORE__URL": "postgresql://repave:secret@[::1/repave"}, "store.url: expected postgresql://"),
        ({"STORE__DIRECT_URL": "postgresql://db/repave"}, "direct_url and password_file belong to url"),
        ({"STORE__PASSWORD_FILE": "/run/password"}, "direct_url and password_file belong to url"),
    ],
)
def test_a_database_that_cannot_be_one_is_refused(environment: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        controller(**environment)
    assert told in str(refused.value)
    assert "secret" not in str(refused.value)
