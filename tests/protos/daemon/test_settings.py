"""Settings: flag over environment over file over default, and nothing misspelt is ignored."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel, Field, SecretStr

from repave_agent import settings as agent_settings
from repave_agent.providers.ssh_pool import inventory, options
from repave_controller import settings as controller_settings
from repave_protos.daemon.settings import (
    Address,
    Settings,
    SettingsError,
    load_settings,
    named_in_environment,
    show_settings,
    without_password,
)

PREFIX = "REPAVE_TEST_"


class HttpSettings(Settings):
    listen: Address = "127.0.0.1:1"
    timeout_seconds: float = 5.0


class ExampleSettings(Settings):
    region: str
    state: Path = Field(Path("/state"), json_schema_extra=named_in_environment("STATE_DIRECTORY"))
    http: HttpSettings = HttpSettings()
    token: SecretStr = SecretStr("")
    is_strict: bool = True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "test.toml"
    path.write_text('region = "file"\n[http]\nlisten = "127.0.0.1:2"\n')
    return path


def load(
    file: Path | None = None, flags: dict[str, object] | None = None, **environment: str
) -> tuple[ExampleSettings, dict[str, str]]:
    return load_settings(ExampleSettings, file, environment, PREFIX, flags)


def refusal(file: Path | None = None, **environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(ExampleSettings, file, environment, PREFIX)
    return str(caught.value)


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(file: Path) -> None:
    environment = {"REPAVE_TEST_REGION": "environment", "REPAVE_TEST_HTTP__LISTEN": "127.0.0.1:3"}
    settings, origins = load(file, {"region": "flag", "state": None}, **environment)
    assert settings.region == "flag"
    assert settings.http.listen == "127.0.0.1:3"
    assert settings.http.timeout_seconds == 5.0
    assert origins == {
        "region": "flag",
        "state": "default",
        "http.listen": "environment REPAVE_TEST_HTTP__LISTEN",
        "http.timeout_seconds": "default",
        "token": "default",
        "is_strict": "default",
    }
    assert load(file)[1]["region"] == f"file {file}"


def test_words_of_the_environment_become_what_the_setting_is() -> None:
    settings, _ = load(
        REPAVE_TEST_REGION="a",
        REPAVE_TEST_IS_STRICT="false",
        REPAVE_TEST_HTTP__TIMEOUT_SECONDS="1.5",
        REPAVE_TEST_STATE="/x",
        REPAVE_OTHER="not ours",
    )
    assert (settings.is_strict, settings.http.timeout_seconds, settings.state) == (False, 1.5, Path("/x"))


def test_a_value_can_be_the_content_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    settings, origins = load(REPAVE_TEST_REGION="a", REPAVE_TEST_TOKEN_FILE=str(tmp_path / "token"))
    assert settings.token.get_secret_value() == "secret"
    assert origins["token"] == "environment REPAVE_TEST_TOKEN_FILE"
    text = refusal(REPAVE_TEST_REGION="a", REPAVE_TEST_TOKEN_FILE=str(tmp_path / "missing"))
    assert text.startswith("environment REPAVE_TEST_TOKEN_FILE: ")
    assert "No such file" in text


def test_the_folder_that_systemd_gives_comes_before_the_default() -> None:
    settings, origins = load(REPAVE_TEST_REGION="a", STATE_DIRECTORY="/var/lib/one:/var/lib/two")
    assert settings.state == Path("/var/lib/one")
    assert origins["state"] == "environment STATE_DIRECTORY"
    settings, _ = load(REPAVE_TEST_REGION="a", STATE_DIRECTORY="/one", REPAVE_TEST_STATE="/two")
    assert settings.state == Path("/two")


def test_a_misspelt_variable_stops_the_start_with_the_one_that_was_meant() -> None:
    text = refusal(REPAVE_TEST_REIGON="paris")
    assert text == "environment: unknown variable REPAVE_TEST_REIGON; did you mean REPAVE_TEST_REGION?"
    assert "REPAVE_TEST_HTTP__LISTEN" in refusal(REPAVE_TEST_HTTP_LISTEN="127.0.0.1:1")


def test_a_misspelt_line_of_the_file_stops_the_start_with_the_one_that_was_meant(file: Path) -> None:
    file.write_text('region = "a"\n[http]\nlisen = "127.0.0.1:2"\n')
    assert refusal(file) == f"{file}: unknown setting http.lisen; did you mean http.listen?"
    file.write_text('region = "a"\n[htpt]\nlisten = "127.0.0.1:2"\n')
    assert "htpt" in refusal(file)
    file.write_text('region = "a"\nhttp = "127.0.0.1:2"\n')
    assert "unknown setting http" in refusal(file)


def test_what_a_setting_cannot_be_is_refused_with_where_it_came_from(file: Path) -> None:
    text = refusal(file, REPAVE_TEST_HTTP__LISTEN="7400")
    assert text.startswith("environment REPAVE_TEST_HTTP__LISTEN: http.listen: write HOST:PORT")
    file.write_text('region = "a"\nis_strict = "perhaps"\n')
    assert refusal(file).startswith(f"file {file}: is_strict: ")


def test_one_of_a_list_is_refused_with_where_the_list_came_from(tmp_path: Path) -> None:
    class Listed(Settings):
        peers: tuple[Address, ...] = ()

    file = tmp_path / "test.toml"
    file.write_text('peers = ["127.0.0.1:2", "127.0.0.1"]')
    with pytest.raises(SettingsError, match=r"^file .*test\.toml: peers\.1: write HOST:PORT"):
        load_settings(Listed, file, {}, PREFIX)


def test_a_setting_that_is_missing_is_named_with_its_variable(file: Path) -> None:
    assert refusal() == "region is not set: set REPAVE_TEST_REGION"
    file.write_text("")
    assert refusal(file) == f"region is not set: set REPAVE_TEST_REGION or put region = ... into {file}"


def test_a_setting_given_twice_in_the_environment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "region").write_text("b")
    text = refusal(REPAVE_TEST_REGION="a", REPAVE_TEST_REGION_FILE=str(tmp_path / "region"))
    assert "REPAVE_TEST_REGION " in text
    assert "REPAVE_TEST_REGION_FILE" in text


def test_a_file_that_is_not_there_or_not_toml_is_refused(file: Path) -> None:
    assert "No such file" in refusal(file.with_name("other.toml"))
    file.write_text("region: paris\n")
    assert "is not TOML" in refusal(file)
    file.write_bytes(b"\xff")
    assert "UTF-8" in refusal(file)


def test_shown_settings_have_their_origin_and_keep_secrets(file: Path) -> None:
    text = show_settings(*load(file, REPAVE_TEST_TOKEN="very secret"))
    assert "very secret" not in text
    lines = [line.split() for line in text.splitlines()]
    assert ["region", "=", "file", "#", "file", str(file)] in lines
    assert ["token", "=", "**********", "#", "environment", "REPAVE_TEST_TOKEN"] in lines


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("state = 3", "state: must be a path"),
        ("http = {timeout_seconds = 'x'}", "http.timeout_seconds: must be a number"),
        ("is_strict = 'perhaps'", "is_strict: must be true or false"),
        ("region = 3", "region: must be text"),
    ],
)
def test_a_value_of_another_type_is_told_in_words_of_a_settings_file(
    tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "test.toml"
    file.write_text(content if content.startswith("region") else f"region = 'x'\n{content}\n")
    assert refusal(file) == f"file {file}: {told}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann@db.example/repave", "postgresql://ann@db.example/repave"),
        ("postgresql://ann:s3:cr@et@db/repave?x=1", "postgresql://ann:***@db/repave?x=1"),
        ("postgresql://db/repave?password=secret&user=ann", "postgresql://db/repave?password=***&user=ann"),
        ("postgresql://ann:secret@a:1,b:2/repave", "postgresql://ann:***@a:1,b:2/repave"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def settings_within(module: ModuleType) -> Iterator[type[BaseModel]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__:
            yield value


@pytest.mark.parametrize("module", [controller_settings, agent_settings, inventory, options])
def test_no_setting_answers_with_a_regular_expression(module: ModuleType) -> None:
    models = list(settings_within(module))
    assert models
    for model in models:
        told = json.dumps(model.model_json_schema())
        assert '"pattern"' not in told, f"{model.__name__}: use of_form, whose words people understand"


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("NAME", "ctl 1", "must be at most 64 letters, digits, dots, underscores and hyphens"),
        ("HTTP__URL", "repave.example.com", "must be a URL such as https://repave.example.com"),
        (
            "PACKAGES__BUCKET",
            "Big_Bucket",
            "must be the name of a bucket: 3 to 63 lower-case letters, digits",
        ),
        ("PACKAGES__ENDPOINT", "http://s3.example.com", "must be a URL without a path, such as https://s3"),
        ("PACKAGES__ENDPOINT", "https://s3.example.com/\n", "must be a URL without a path"),
        ("PACKAGES__REGION", "", "must be a region such as eu-central-1"),
        ("PACKAGES__PREFIX", "repave", "must be folders that end with /, such as repave/"),
        ("INSTALLATION", "a b", "must be at most 64 letters"),
    ],
)
def test_text_of_another_form_is_told_which_form(setting: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(
            controller_settings.ControllerSettings,
            None,
            {f"REPAVE_CONTROLLER_{setting}": value},
            "REPAVE_CONTROLLER_",
        )
    name = setting.lower().replace("__", ".")
    assert f"REPAVE_CONTROLLER_{setting}: {name}: {told}" in str(raised.value)
