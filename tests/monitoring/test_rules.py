"""Every alert in deploy/prometheus/rules.yml fires on what it is for, stays quiet on what looks like it, and
leads to a section of the docs. By promtool, on series of a minute a sample."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.paths import ROOT
from tests.support.prometheus import RULES, binary

MINUTES = 40
DAY = 86_400
STORE = "repave_store_operation_duration_seconds_bucket"
LAG = "repave_loop_lag_seconds_bucket"
PROVIDER = "repave_agent_provider_call_duration_seconds_count"
BALANCER = "repave_agent_balancer_call_duration_seconds_count"
REFUSED = "repave_requests_refused_total"
ENDED = 'repave_rollouts_total{application="shop",kind="release",outcome="%s"}'
PHASE = 'repave_rollout_phase{application="shop",kind="release",phase="%s"}'
STARTED = 'repave_rollout_started_timestamp_seconds{application="shop"}'
PAUSED = 'repave_rollout_paused{application="shop",by="%s"}'
WANTED = 'repave_serving_hosts_desired{application="shop",region="oslo"}'
VERIFIED = 'repave_serving_hosts_verified{application="shop",region="oslo"}'
CERTIFICATE = 'repave_certificate_expiry_timestamp_seconds{certificate="%s"}'
AGENTS_CERTIFICATE = 'repave_agent_certificate_expiry_timestamp_seconds{region="oslo"}'
FRONTS_CERTIFICATE = (
    'repave_agent_front_certificate_expiry_timestamp_seconds{application="shop",front="web",%s}'
)
CLOCK = 'repave_agent_clock_offset_seconds{region="oslo"}'
CONNECTED = 'repave_region_connected{region="oslo"}'
SERVED = 'repave_region_served{region="oslo"}'
TROUBLES = 'repave_region_troubles{region="oslo"}'
FREE = 'repave_state_disk_free_bytes{job="repave-agent",instance="a"}'
SIZE = 'repave_state_disk_size_bytes{job="repave-agent",instance="a"}'

Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    """Series with which an alert fires, its labels and description then; and series that keep it quiet."""

    fires: Series
    labels: dict[str, str]
    description: str
    quiet: tuple[Series, ...]
    at: str = "30m"


def always(value: float) -> str:
    return f"{value}+0x{MINUTES}"


def grows(by: float) -> str:
    """By so much a minute."""
    return f"0+{by}x{MINUTES}"


def buckets(name: str, labels: str, least: float, most: float) -> Series:
    """One observation a second, between two bounds."""
    one = {"0.1": 0.0, "0.5": 0.0, "1.0": 0.0, "5.0": 0.0, "+Inf": 60.0}
    one |= {bound: 60.0 for bound in one if bound == "+Inf" or float(bound) >= most}
    assert least < most
    return {f'{name}{{{labels},le="{bound}"}}': grows(count) for bound, count in one.items()}


A = 'instance="a"'
CASES: dict[str, Case] = {
    "RepaveDown": Case(
        {'up{job="repave-controller",instance="a"}': always(0)},
        {"job": "repave-controller", "instance": "a"},
        "a (repave-controller) has not answered for 5 minutes. Traffic goes on; nothing is released, and "
        "what breaks may not be mended.",
        (
            {'up{job="repave-controller",instance="a"}': always(1)},
            {'up{job="node",instance="a"}': always(0)},
            {'up{job="repave-agent",instance="a"}': f"1x26 0x{MINUTES}"},
        ),
    ),
    "RepaveRegionAway": Case(
        {CONNECTED: always(0), SERVED: always(1)},
        {"region": "oslo"},
        "The agent of oslo has had no stream to the controller for 5 minutes. Its hosts serve on; releases "
        "wait for it.",
        (
            {CONNECTED: always(1), SERVED: always(1)},
            {CONNECTED: always(0)},  # no application is there
            {CONNECTED: f"1x27 0x{MINUTES}", SERVED: always(1)},  # not for long
        ),
    ),
    "RepaveRegionTroubled": Case(
        {TROUBLES: always(2)},
        {"region": "oslo"},
        "The agent of oslo has reported 2 troubles for 10 minutes.",
        ({TROUBLES: always(0)}, {TROUBLES: f"0x25 2x{MINUTES}"}),
    ),
    "RepaveAgentRefused": Case(
        {"repave_agents_refused": always(1)},
        {},
        "1 agents have been refused for 5 minutes: for their certificate, or because their region has "
        "another one.",
        ({"repave_agents_refused": always(0)},),
    ),
    "RepaveAgentCertificateEnds": Case(
        {AGENTS_CERTIFICATE: always(1800 + 3600)},
        {"region": "oslo"},
        "The certificate of the agent of oslo ends in 1h 0m 0s, and was not renewed at half of its life.",
        ({AGENTS_CERTIFICATE: always(1800 + 1.5 * DAY)},),
    ),
    "RepaveCertificateEnds": Case(
        {CERTIFICATE % "http": always(7200 + 6 * DAY), CERTIFICATE % "authority": always(7200 + 90 * DAY)},
        {"certificate": "http"},
        "The certificate http of the controller ends in 6d 0h 0m 0s.",
        (
            {CERTIFICATE % "http": always(8 * DAY), CERTIFICATE % "authority": always(90 * DAY)},
            {CERTIFICATE % "server": always(15 * DAY)},
        ),
        at="2h",
    ),
    "RepaveAgentClockOff": Case(
        {CLOCK: always(-45)},
        {"region": "oslo"},
        "The clock of the agent of oslo is 45s off.",
        ({CLOCK: always(2)}, {CLOCK: always(-2)}, {CLOCK: f"0x25 45x{MINUTES}"}),
    ),
    "RepaveRolloutHeld": Case(
        {PAUSED % "repave": always(1), PAUSED % "person": always(0), PHASE % "running": always(1)},
        {"application": "shop"},
        "The rollout of shop is held: repave why shop says why, and what helps.",
        (
            {PAUSED % "repave": always(0), PAUSED % "person": always(1), PHASE % "running": always(1)},
            {PHASE % "succeeded": always(1)},
        ),
    ),
    "RepaveReleaseFailed": Case(
        {ENDED % "rolled-back": f"0x20 1x{MINUTES}"},
        {"application": "shop"},
        "A release of shop failed within the last 15 minutes; its old hosts serve again.",
        (
            {ENDED % "rolled-back": always(3), ENDED % "succeeded": grows(1)},
            {ENDED % "aborted": f"0x20 1x{MINUTES}"},
            {ENDED % "rolled-back": f"0x5 1x{MINUTES}"},  # long ago
        ),
    ),
    "RepaveRolloutStuck": Case(
        {STARTED: always(-DAY), PHASE % "running": always(1)},
        {"application": "shop"},
        "The rollout of shop began 1d 0h 30m 0s ago.",
        (
            {STARTED: always(0), PHASE % "running": always(1)},
            {STARTED: always(-DAY), PHASE % "succeeded": always(1)},
        ),
    ),
    "RepaveHostsBelowTarget": Case(
        {WANTED: always(4), VERIFIED: always(3)},
        {"application": "shop", "region": "oslo"},
        "shop has 3 verified hosts in oslo, fewer than wanted, for 10 minutes.",
        (
            {WANTED: always(4), VERIFIED: always(4)},
            {WANTED: always(4), VERIFIED: f"4x25 3x{MINUTES}"},  # being replaced
            {WANTED: always(2), VERIFIED: always(4)},
        ),
    ),
    "RepaveStoreSlow": Case(
        buckets(STORE, f'operation="decision",{A}', 1, 5),
        {"instance": "a"},
        "1 % of decisions take 4.96s or more to be saved at a.",
        (
            buckets(STORE, f'operation="decision",{A}', 0.1, 0.5),
            buckets(STORE, f'operation="read",{A}', 1, 5),
        ),
    ),
    "RepaveStoreFailing": Case(
        {f'repave_store_failures_total{{operation="decision",{A}}}': f"0x28 1x{MINUTES}"},
        {"instance": "a", "operation": "decision"},
        "The store at a failed: decision. What is not saved does not happen.",
        (
            {f'repave_store_failures_total{{operation="decision",{A}}}': always(7)},
            {f'repave_store_failures_total{{operation="audit",{A}}}': grows(1)},
        ),
    ),
    "RepaveControllerAway": Case(
        {
            f'repave_controllers{{state="away",job="c",{A}}}': f"0x20 1x{MINUTES}",
            f'repave_controllers{{state="live",job="c",{A}}}': f"3x20 2x{MINUTES}",
        },
        {"job": "c", "state": "away"},
        "1 controllers have been away for 5 minutes. The others decide for its applications.",
        (
            {f'repave_controllers{{state="live",job="c",{A}}}': always(3)},
            {f'repave_controllers{{state="away",job="c",{A}}}': f"0x27 1x{MINUTES}"},
        ),
    ),
    "RepaveShardsWithoutController": Case(
        {
            'repave_shards_owned{job="c",instance="a"}': f"32x20 0x{MINUTES}",
            'repave_shards_owned{job="c",instance="b"}': always(32),
        },
        {"job": "c"},
        "The controllers (c) decide for 32 of 64 shards: nothing is decided for the other applications. "
        "Their traffic stays as it is.",
        (
            {
                'repave_shards_owned{job="c",instance="a"}': f"32x20 0x{MINUTES}",
                'repave_shards_owned{job="c",instance="b"}': f"32x20 64x{MINUTES}",
            },
            {'repave_shards_owned{job="c",instance="a"}': always(64)},
        ),
    ),
    "RepaveAuditNotWritten": Case(
        {f'repave_store_failures_total{{operation="audit",{A}}}': grows(1)},
        {"instance": "a"},
        "A row of the audit log at a was not saved; commands are refused meanwhile.",
        ({f'repave_store_failures_total{{operation="decision",{A}}}': grows(1)},),
    ),
    "RepaveLoopLagging": Case(
        buckets(LAG, f'job="repave-agent",{A}', 1, 5),
        {"job": "repave-agent", "instance": "a"},
        "a (repave-agent) runs what is due 4.96s late.",
        (buckets(LAG, f'job="repave-agent",{A}', 0.1, 0.5),),
    ),
    "RepaveDiskFilling": Case(
        {FREE: always(5), SIZE: always(100)},
        {"job": "repave-agent", "instance": "a"},
        "5% of the disk is free at a (repave-agent).",
        ({FREE: always(20), SIZE: always(100)}, {FREE: f"20x27 5x{MINUTES}", SIZE: always(100)}),
    ),
    "RepaveLoginsRefused": Case(
        {f'{REFUSED}{{rule="not-signed-in",{A}}}': grows(60)},
        {"instance": "a"},
        "1 requests a second are refused at a, for 10 minutes.",
        (
            {f'{REFUSED}{{rule="not-signed-in",{A}}}': grows(6)},
            {f'{REFUSED}{{rule="denied",{A}}}': grows(60)},
        ),
    ),
    "RepaveProviderFailing": Case(
        {
            f'{PROVIDER}{{operation="launch",result="ok",{A}}}': grows(1),
            f'{PROVIDER}{{operation="launch",result="out_of_capacity",{A}}}': grows(3),
        },
        {"instance": "a", "operation": "launch"},
        "75% of launch fail at a.",
        (
            {
                f'{PROVIDER}{{operation="launch",result="ok",{A}}}': grows(3),
                f'{PROVIDER}{{operation="launch",result="transient",{A}}}': grows(1),
            },
            {f'{PROVIDER}{{operation="launch",result="ok",{A}}}': always(0)},  # nothing was asked
        ),
    ),
    "RepaveBalancerFailing": Case(
        {f'{BALANCER}{{operation="route",result="error",{A}}}': grows(1)},
        {"instance": "a", "operation": "route"},
        "route failed 10 times in 10 minutes at a; traffic stays as it was.",
        (
            {f'{BALANCER}{{operation="route",result="ok",{A}}}': grows(1)},
            {f'{BALANCER}{{operation="route",result="error",{A}}}': f"0x28 1x{MINUTES}"},  # once
            {f'{BALANCER}{{operation="observe",result="error",{A}}}': grows(1)},
        ),
    ),
    "RepaveJournalNotWritten": Case(
        {f"repave_agent_journal_failures_total{{{A}}}": grows(1)},
        {"instance": "a"},
        "The agent at a can not save what it accepts; it launches no hosts meanwhile.",
        ({f"repave_agent_journal_failures_total{{{A}}}": always(2)},),
    ),
    "RepaveCertificateEnding": Case(
        {FRONTS_CERTIFICATE % A: always(2 * DAY + 1800)},
        {"application": "shop", "front": "web", "instance": "a"},
        "What clients of shop, front web, are shown at a ends in 2d 0h 0m 0s.",
        ({FRONTS_CERTIFICATE % A: always(8 * DAY)},),
    ),
}


def rules() -> dict[str, dict[str, Any]]:
    (group,) = YAML(typ="safe").load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_every_alert_has_a_case_and_every_case_an_alert() -> None:
    assert set(CASES) == set(rules())


def test_every_alert_leads_to_a_section_that_says_what_to_do() -> None:
    document = (ROOT / "docs" / "monitoring.md").read_text()
    sections = {name.lower() for name in re.findall(r"^#+ (\w+)$", document, flags=re.MULTILINE)}
    for name, rule in rules().items():
        file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (file, anchor) == ("docs/monitoring.md", name.lower())
        assert anchor in sections, f"docs/monitoring.md has no section {name}"
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]


def _tests_of(name: str, case: Case) -> list[dict[str, Any]]:
    rule = rules()[name]
    alert = {
        "exp_labels": {**case.labels, **rule["labels"]},
        "exp_annotations": {**rule["annotations"], "description": case.description},
    }
    cases = [(case.fires, [alert]), *((series, []) for series in case.quiet)]
    return [
        {
            "interval": "1m",
            "input_series": [{"series": each, "values": values} for each, values in _long(series, case.at)],
            "alert_rule_test": [{"eval_time": case.at, "alertname": name, "exp_alerts": expected}],
        }
        for series, expected in cases
    ]


def _long(series: Series, at: str) -> list[tuple[str, str]]:
    """What is asked about after hours has samples until then."""
    length = f"x{130 if at == '2h' else MINUTES}"
    return [(name, values.replace(f"x{MINUTES}", length)) for name, values in series.items()]


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    assert MINUTES >= 31
    tests = [each for name, case in CASES.items() for each in _tests_of(name, case)]
    done = _checked(tmp_path, RULES, tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_never_fires_would_be_noticed(tmp_path: Path) -> None:
    broken = tmp_path / "rules.yml"
    broken.write_text(RULES.read_text().replace("region_connected == 0", "region_connected == 7"))
    (test, *_) = _tests_of("RepaveRegionAway", CASES["RepaveRegionAway"])
    assert _checked(tmp_path, broken, [test]).returncode == 1


def _checked(folder: Path, rules: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    file = folder / "rules.test.yml"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}))
    command = [binary("promtool"), "test", "rules", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
