"""GET /metrics of a controller: both formats, what is in them, and who may read."""

import re
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text

from tests.controller.api.conftest import release
from tests.fakes.controller.api_rig import RealController
from tests.fakes.controller.asking import Asking
from tests.fakes.controller.scheduler import served

OPEN = "application/openmetrics-text; version=1.0.0"


async def scraped(real: RealController, accept: str = "") -> tuple[str, str]:
    async with real.client.get("/metrics", headers={"Accept": accept}) as answer:
        assert answer.status == 200
        return await answer.text(), answer.headers["Content-Type"]


def value(text: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found, f"no {series} in\n{text}"
    return float(found[1])


async def test_both_formats_parse_and_say_which_they_are(real: RealController) -> None:
    await release(real)
    text, content_type = await scraped(real)
    assert content_type.startswith("text/plain")
    asked, open_type = await scraped(real, OPEN)
    assert open_type.startswith("application/openmetrics-text")
    families = {family.name for family in open_metrics(asked)}  # type: ignore[no-untyped-call]
    assert {family.name.removesuffix("_total") for family in prometheus_text(text)} == {
        name.removesuffix("_total") for name in families
    }


async def test_a_release_is_counted_and_what_runs_is_shown(real: RealController) -> None:
    await release(real)
    await release(real, "v2")
    text, _ = await scraped(real)
    assert value(text, 'repave_rollouts_total{application="hello",kind="release",outcome="succeeded"}') == 2
    assert value(text, 'repave_rollouts_total{application="hello",kind="rollback",outcome="succeeded"}') == 0
    assert value(text, 'repave_change_lead_time_seconds_count{application="hello"}') == 2
    assert value(text, 'repave_rollout_phase{application="hello",kind="release",phase="succeeded"}') == 1
    assert value(text, 'repave_serving_hosts_desired{application="hello",region="oslo"}') == 3
    assert value(text, 'repave_region_connected{region="paris"}') == 1
    assert value(text, 'repave_store_operation_duration_seconds_count{operation="decision"}') > 0
    assert value(text, "repave_packages") == 2
    assert value(text, "repave_packages_size_bytes") > 0
    assert value(text, 'repave_step_duration_seconds_count{step="weight"}') >= 4


async def test_names_have_the_prefix_and_base_units_and_no_label_has_a_host_or_group(
    real: RealController,
) -> None:
    await release(real)
    text, _ = await scraped(real)
    ours = [family for family in prometheus_text(text) if family.name.startswith("repave_")]
    assert len(ours) > 25
    for family in ours:
        assert not re.search(r"_(ms|milliseconds|minutes|hours|days|kb|mb|percent)(_|$)", family.name)
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        for sample in family.samples:
            assert not any("-v00" in text for text in sample.labels.values()), sample
            assert not {"host", "group", "token", "user"} & set(sample.labels)


def test_with_accounts_prometheus_shows_a_token_of_its_own_role(tmp_path: Path) -> None:
    with served(tmp_path, has_accounts=True) as controller:
        asking = Asking(controller.url)
        admin = {"Authorization": f"Bearer {controller.admin}"}
        granted = asking.post("roles/grant", {"to": "prometheus", "role": "metrics"}, **admin)
        assert granted.status in (200, 201), granted.content
        made = {"name": "prometheus", "expires_seconds": 3600}
        answer = asking.post("tokens", made, **admin)
        assert answer.status == 201, answer.content
        token = {"Authorization": f"Bearer {answer.json['token']}"}
        assert asking.get("/metrics").status == 401
        assert asking.get("/metrics", **admin).status == 200
        assert asking.get("/metrics", **token).status == 200
        assert asking.get("applications", **token).status == 403
        text = asking.get("/metrics", **token).content.decode()
        assert value(text, 'repave_requests_refused_total{rule="not-signed-in"}') == 1
        assert value(text, 'repave_requests_refused_total{rule="denied"}') == 1
