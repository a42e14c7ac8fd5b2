"""Which application may read which secret, and what a secret shows of itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_agent.core.host_secrets import AWAITED, HostSecret, Lack, SecretError, is_allowed
from repave_agent.secrets.options import EnvOptions, FileOptions, VaultOptions
from repave_protos.protocol.values import SecretReference

NAMES = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,3}", fullmatch=True)


@pytest.mark.parametrize(
    ("rule", "place", "is_opened"),
    [
        ("kv/{application}/*", "kv/shop/db", True),
        ("kv/{application}/*", "kv/shop/db/more", True),
        ("kv/{application}/*", "kv/shop/", False),
        ("kv/{application}/*", "kv/shop", False),
        ("kv/{application}/*", "kv/shopping/db", False),
        ("kv/{application}", "kv/shop", True),
        ("kv/+/{application}", "kv/team/shop", True),
        ("kv/+/{application}", "kv/a/b/shop", False),
        ("kv/{region}/{application}", "kv/paris/shop", True),
        ("kv/{region}/{application}", "kv/oslo/shop", False),
        ("kv/.*", "kv/shop", False),
        ("*", "anything/at/all", True),
        ("shop=kv/shared/db", "kv/shared/db", True),
        ("cart=kv/shared/db", "kv/shared/db", False),
        ("=kv/shared/db", "kv/shared/db", False),
        ("", "kv/shop", False),
    ],
)
def test_a_rule_opens_what_it_says(rule: str, place: str, is_opened: bool) -> None:
    assert is_allowed((rule,), "shop", "paris", place) is is_opened


@given(NAMES, NAMES, st.sampled_from(["db", "a/b", "X"]))
def test_by_default_no_application_reads_another_one_s(one: str, other: str, rest: str) -> None:
    variable = f"REPAVE_SECRET_{other.upper().replace('-', '_')}__{rest.upper().replace('/', '_')}"
    for rules, place in (
        (VaultOptions().allow, f"kv/{other}/{rest}"),
        (FileOptions().allow, f"{other}/{rest}"),
        (EnvOptions().allow, variable),
    ):
        assert is_allowed(rules, one, "paris", place) is (one == other)


def test_a_value_is_not_shown() -> None:
    secret = HostSecret("URL", b"canary", as_file=False, origin="vault kv/shop#url, version 3")
    assert "canary" not in f"{secret!r} {secret} {secret.told}"
    assert secret.told == "URL (vault kv/shop#url, version 3)"


@pytest.mark.parametrize("lack", Lack)
def test_what_is_only_away_is_waited_for_and_all_is_named(lack: Lack) -> None:
    error = SecretError(lack, "because").of(SecretReference("URL", "vault", "kv/shop#url"))
    verb = "waits for" if lack in AWAITED else "has no"
    assert str(error) == f"it {verb} secret URL (vault kv/shop#url): because"
    assert error.is_awaited is (lack in AWAITED)
