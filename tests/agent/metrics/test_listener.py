"""Where an agent gives out its metrics: nowhere by default, on loopback freely, elsewhere by a choice."""

import ssl
from pathlib import Path

import aiohttp
import pytest

from repave_agent.metrics.address import ListenError, check
from repave_agent.metrics.listener import listening
from repave_agent.metrics.metrics import Metrics, Now
from repave_agent.settings import MetricsSettings
from repave_protos.daemon.metrics import new_registry
from tests.support.certificates import new_authority


def metrics_of(state: Path) -> Metrics:
    metrics = Metrics(new_registry("0.1.0"), state, lambda: 0.0)
    hosts, shown = [(("hello", "verified"), 2.0)], [(("hello", "web"), 3e9)]
    metrics.read(lambda: Now("paris", True, False, 0, hosts, None, 4e9, shown))
    return metrics


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (MetricsSettings(listen="0.0.0.0:9000"), "metrics.plaintext"),
        (MetricsSettings(listen="10.0.0.1:9000"), "127.0.0.1:9000"),
        (MetricsSettings(listen="[::]:9000"), "not a loopback"),
        (MetricsSettings(listen="metrics.example:9000"), "not a loopback"),
        (MetricsSettings(listen="127.0.0.1:9000", certificate=Path("c")), "belong together"),
    ],
)
def test_plaintext_beyond_this_machine_is_refused_with_the_ways_out(
    settings: MetricsSettings, names: str
) -> None:
    with pytest.raises(ListenError, match=names):
        check(settings)


@pytest.mark.parametrize(
    "settings",
    [
        MetricsSettings(),
        MetricsSettings(listen="127.0.0.1:9000"),
        MetricsSettings(listen="[::1]:9000"),
        MetricsSettings(listen="0.0.0.0:9000", plaintext=True),
        MetricsSettings(listen="0.0.0.0:9000", certificate=Path("c"), key=Path("k")),
    ],
)
def test_loopback_a_choice_and_tls_are_taken(settings: MetricsSettings) -> None:
    check(settings)


async def test_it_answers_with_the_agents_own_state(tmp_path: Path) -> None:
    settings = MetricsSettings(listen="127.0.0.1:0")
    async with (
        listening(settings, metrics_of(tmp_path).exposition) as port,
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        text = await answer.text()
    assert 'repave_agent_hosts{application="hello",phase="verified"} 2.0' in text
    assert 'repave_agent_connected{region="paris"} 1.0' in text
    of_front = 'repave_agent_front_certificate_expiry_timestamp_seconds{application="hello",front="web"}'
    assert f"{of_front} 3e+09" in text
    assert "repave_agent_own_certificate_expiry_timestamp_seconds 4e+09" in text


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    exposition = metrics_of(tmp_path).exposition
    async with listening(MetricsSettings(listen="127.0.0.1:0"), exposition) as port:
        taken = MetricsSettings(listen=f"127.0.0.1:{port}")
        with pytest.raises(ListenError, match="metrics"):
            async with listening(taken, exposition):
                pass


async def test_with_a_certificate_it_speaks_tls_only(tmp_path: Path) -> None:
    authority = new_authority()
    certificate, key = authority.issue(tmp_path)
    settings = MetricsSettings(listen="127.0.0.1:0", certificate=certificate, key=key)
    trusting = ssl.create_default_context(cadata=authority.pem)
    async with (
        listening(settings, metrics_of(tmp_path).exposition) as port,
        aiohttp.ClientSession() as client,
    ):
        async with client.get(f"https://127.0.0.1:{port}/metrics", ssl=trusting) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await client.get(f"http://127.0.0.1:{port}/metrics")
