"""What a spec may say of secrets, and how each mistake is told: by its field, before anything is released."""

import pytest

from repave_controller.spec.agreement import disagreements
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities, capability_words
from repave_protos.protocol.values import PROTOCOL_VERSION, Digest, Hello, RegionName, SecretReference

SPEC = """\
repave: 1
app: shop
artifact: {uri: ./shop}
host:
  run: %(run)s
  env: {COLOUR: blue, KEY_FILE: /x}
  secrets:
%(secrets)s
health: {%(health)s}
traffic: {port: 80}
regions: [{name: oslo, size: 4}]
strategy: {blue_green: {}}
"""
OSLO = RegionName("oslo")
HTTP = "http: {port: 8080}"


def text(*secrets: str, run: str = "./serve", health: str = HTTP) -> str:
    return SPEC % {"run": run, "health": health, "secrets": "\n".join(f"    {line}" for line in secrets)}


def references(*secrets: str, **more: str) -> tuple[SecretReference, ...]:
    spec, _ = load(text(*secrets, **more), "repave.yaml")
    return compile_order(spec, Digest("0" * 64), "1.2").template.secrets


def told(*secrets: str, **more: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(text(*secrets, **more), "repave.yaml")
    return str(caught.value)


def test_secrets_are_references_in_the_order_of_their_names() -> None:
    assert references(
        "TLS: {file: /etc/repave/secrets/shop/tls.pem, as: file}",
        "DATABASE_URL: {vault: kv/checkout#url}",
        "TOKEN: {env: REPAVE_SECRET_SHOP__TOKEN, as: env}",
        "PER_REGION: {vault: 'kv/{app}/{region}/{version}#a key'}",
    ) == (
        SecretReference("DATABASE_URL", "vault", "kv/checkout#url"),
        SecretReference("PER_REGION", "vault", "kv/shop/{region}/1.2#a key"),
        SecretReference("TLS", "file", "/etc/repave/secrets/shop/tls.pem", as_file=True),
        SecretReference("TOKEN", "env", "REPAVE_SECRET_SHOP__TOKEN"),
    )


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (
            "A: {}",
            "host.secrets.A: say where it is kept: {vault: kv/checkout#url}, {file: /path} or {env: NAME}",
        ),
        ("A: {vault: kv/a#b, env: X}", "a secret is kept in one place: name one of vault, file and env"),
        ("A: {vualt: kv/a#b}", "host.secrets.A.vualt: unknown option; did you mean vault?"),
        ("A: hunter2", "host.secrets.A"),
        ("A: {vault: kv/a#b, as: variable}", "host.secrets.A.as"),
        ("A: {vault: kv/a}", "host.secrets.A.vault: name the key behind #, as in kv/checkout#url"),
        ("A: {vault: 'kv/a#'}", "name the key behind #"),
        ("A: {vault: 'a#b'}", "write the mount, /, the path, # and the key"),
        ("A: {vault: '/kv/a#b'}", "no / at either end"),
        ("A: {vault: 'kv/a/#b'}", "no / at either end"),
        ("A: {vault: 'kv/../a#b'}", "none is . or .."),
        ("A: {vault: 'kv/a?x=1#b'}", "the parts of a path are letters"),
        ("A: {vault: 'kv/%2e%2e/a#b'}", "the parts of a path are letters"),
        ("A: {vault: 'kv/{group}#b'}", "host.secrets.A.vault: {group} is not known here"),
        ("A: {env: 'X_{region}'}", "host.secrets.A.env: {region} is not known here"),
        ("A: {file: secrets/a}", "host.secrets.A.file: write an absolute path on the agent's machine"),
        ("A: {file: /etc/../a}", "host.secrets.A.file: write the path without //, . and .."),
        ("A: {file: /etc/}", "without / at its end"),
        ("A: {env: 1X}", "host.secrets.A.env: name a variable of the agent"),
        ("A: {env: 'X Y'}", "host.secrets.A.env: name a variable of the agent"),
        ("1A: {env: X}", "host.secrets.1A: '1A' can't name a variable: letters, digits and _"),
        ("PORT: {env: X}", "host.secrets.PORT: is set by repave"),
        ("REPAVE_X: {env: X}", "host.secrets.REPAVE_X: is set by repave"),
        ("PATH: {env: X}", "host.secrets.PATH: is no secret"),
        ("COLOUR: {env: X}", "COLOUR is both in host.env and set by host.secrets.COLOUR"),
        ("KEY: {env: X, as: file}", "KEY_FILE is both in host.env and set by host.secrets.KEY"),
    ],
)
def test_each_mistake_is_told_by_its_field(secret: str, expected: str) -> None:
    assert expected in told(secret)
    assert "hunter2" not in told(secret)


def test_two_secrets_can_not_set_one_variable() -> None:
    found = told("A_FILE: {env: X}", "A: {env: Y, as: file}")
    assert "A_FILE is set by host.secrets.A_FILE as well: rename one" in found


@pytest.mark.parametrize(
    ("run", "health", "expected"),
    [
        ("./serve --url $A", HTTP, "host.run: $A would put a secret among the command's words"),
        ("./serve --url ${A}", HTTP, "host.run: $A would put a secret"),
        ("[sh, -c, 'echo x$A']", HTTP, "write $$A where a shell reads it"),
        ("./serve $B", HTTP, "host.run: $B is a file here: write $B_FILE for its path"),
        ("./serve", "command: {port: 80, run: ./check $A}", "health.command.run: $A would put a secret"),
    ],
)
def test_no_secret_becomes_a_word_of_a_command(run: str, health: str, expected: str) -> None:
    assert expected in told("A: {env: X}", "B: {env: Y, as: file}", run=run, health=health)


def test_what_a_shell_reads_and_paths_of_files_may_be_words() -> None:
    assert references("A: {env: X}", "B: {env: Y, as: file}", run="[sh, -c, './serve $$A', $B_FILE]")


LOCAL = capability_words(ProviderAbilities(takes_secrets=True), BalancerAbilities(), ("vault", "env"))
BARE = capability_words(ProviderAbilities(takes_secrets=True), BalancerAbilities())
CLOUD = capability_words(ProviderAbilities(), BalancerAbilities(), ("vault", "env"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (LOCAL, []),
        (
            BARE,
            [
                "host.secrets.A.vault: the agent of oslo reads none from vault: set "
                "secrets.vault.address there",
                "host.secrets.B.env: the agent of oslo reads none from env: set secrets.env.enabled there",
            ],
        ),
        (
            CLOUD,
            [
                "host.secrets: the agent of oslo (0.2.0, provider local) hands no secrets to hosts, and "
                "would start them without: upgrade the agent, or leave the region out; servers of a cloud "
                "read their own secrets, as docs/secrets.md shows"
            ],
        ),
    ],
)
def test_a_region_whose_agent_can_not_hand_them_over_is_refused_by_name(
    words: tuple[str, ...], expected: list[str]
) -> None:
    hello = Hello(OSLO, PROTOCOL_VERSION, "0.2.0", "local", "haproxy", words)
    spec, _ = load(text("A: {vault: kv/shop#a}", "B: {env: REPAVE_SECRET_SHOP__B}"), "repave.yaml")
    assert [f"{each.field}: {each.text}" for each in disagreements(spec, {OSLO: hello})] == expected
    plain, _ = load(text("A: {vault: kv/shop#a}").replace("    A: {vault: kv/shop#a}", "    {}"), "r.yaml")
    assert list(disagreements(plain, {OSLO: hello})) == []
