"""A name that stands for nothing is a usage error (2) in every command, with the names that there are."""

from tests.fakes.controller.command_line import CommandLine

KEEPING = "rollback: {keep: {for: 24h, groups: 3}}\n"
APPLICATION = "no application is called shoop; there are: hello"
REGION = "no region is called 'rome' here; there are: oslo, paris"
TABLE = [
    *(
        (f"{command} shoop", APPLICATION)
        for command in ("status", "why", "watch", "history", "groups", "hosts")
    ),
    *((f"{command} shoop", APPLICATION) for command in ("events", "events --follow", "ages", "renew")),
    *((f"{command} shoop", APPLICATION) for command in ("abort", "rollback", "pause", "resume", "retry")),
    *(
        (f"{command} shoop", APPLICATION)
        for command in ("step-back", "promote", "queue list", "queue resume")
    ),
    ("scale shoop paris=3", APPLICATION),
    ("queue drop shoop 1", APPLICATION),
    ("queue move shoop 1 last", APPLICATION),
    ("hosts --region rome", REGION),
    ("hosts hello --region rome", REGION),
    (
        "hosts hello --group hello-v009",
        "no server group is called 'hello-v009'; there are: hello-v001, hello-v002",
    ),
    ("orphans --region rome", REGION),
    ("pool list --region rome", "no region rome; there are: oslo, paris"),
    ("pool return rome m1", "no region rome; there are: oslo, paris"),
    ("image baked --region rome", "no region rome; there are: oslo, paris"),
    ("scale hello rome=3", "hello does not serve in rome; it does in: oslo, paris"),
    ("rollback hello --region rome", "hello does not serve in rome; it does in: oslo, paris"),
    ("rollback hello --to v9", "no older group of hello is called v9; there are: hello-v001 (v1)"),
    ("unfreeze F9", "no freeze is called 'F9'; there are: none"),
    ("taint nohost", "nohost"),
    ("context use nowhere", "nowhere"),
    ("release --sha256 " + "a" * 64, "no package"),
]


def test_what_does_not_exist_is_a_usage_error_that_lists_what_does(repave: CommandLine) -> None:
    spec = repave.folder / "repave.yaml"
    spec.write_text(spec.read_text() + KEEPING)
    for version in ("v1", "v2"):
        repave.release(version)
    wrong = []
    for command, said in TABLE:
        ran = repave(*command.split())
        if ran.code != 2 or said not in ran.err:
            wrong.append((command, ran.code, ran.err))
    assert wrong == []
