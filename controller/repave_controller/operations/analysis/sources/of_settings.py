"""The sources that the settings name, beside the balancers' own numbers."""

import ssl
from collections.abc import Callable, Mapping

from repave_controller.fleet.fetching import Lookup, look_up
from repave_controller.operations.analysis.sources import credentials
from repave_controller.operations.analysis.sources.asking import Asker
from repave_controller.operations.analysis.sources.balancer import NAME, Balancer
from repave_controller.operations.analysis.sources.cloudwatch import CloudWatch
from repave_controller.operations.analysis.sources.csv_file import CsvFile
from repave_controller.operations.analysis.sources.datadog import Datadog
from repave_controller.operations.analysis.sources.graphite import Graphite
from repave_controller.operations.analysis.sources.http_json import HttpJson
from repave_controller.operations.analysis.sources.http_source import Dialect, HttpSource
from repave_controller.operations.analysis.sources.influxdb import InfluxDb
from repave_controller.operations.analysis.sources.ports import Source
from repave_controller.operations.analysis.sources.prometheus import Prometheus
from repave_controller.security.addresses import allowed_of
from repave_controller.settings import AnalysisSettings, MetricsSource

DATADOG = "https://api.datadoghq.com"


def sources_of(
    settings: AnalysisSettings,
    balancer: Balancer,
    clock: Callable[[], float],
    lookup: Lookup = look_up,
) -> Mapping[str, Source]:
    """By name. Raises OSError for an authority's file, ValueError when it is none."""
    found: dict[str, Source] = {NAME: balancer}
    for name, each in sorted(settings.sources.items()):
        found[name] = _source(name, each, clock, lookup)
    return found


def _source(name: str, settings: MetricsSource, clock: Callable[[], float], lookup: Lookup) -> Source:
    if settings.kind == "file":
        assert settings.path is not None, "the settings were checked"
        return CsvFile(name, settings.path, settings.step_seconds, settings.apps)
    tls = None
    if settings.authority is not None:
        tls = ssl.create_default_context(cadata=settings.authority.read_text())
    asker = Asker(settings.seconds, tls, allowed_of(settings.allow), lookup)
    return HttpSource(name, _dialect(settings), asker, settings.step_seconds, settings.apps, clock)


def _dialect(settings: MetricsSource) -> Dialect:
    url, shown = settings.url, _credentials(settings)
    match settings.kind:
        case "prometheus":
            return Prometheus(url, shown, settings.seconds)
        case "graphite":
            return Graphite(url, shown)
        case "influxdb":
            return InfluxDb(url, settings.database, shown)
        case "datadog":
            key, application = settings.key, settings.application_key
            assert key is not None, "it was checked"
            assert application is not None, "it was checked"
            return Datadog(url or DATADOG, key, application)
        case "cloudwatch":
            assert settings.credentials is not None, "it was checked"
            of_region = f"https://monitoring.{settings.region}.amazonaws.com"
            return CloudWatch(url or of_region, settings.region, settings.credentials)
        case "http":
            return HttpJson(url, settings.values, settings.times, shown)
        case _:
            raise AssertionError(f"{settings.kind} is no kind that asks over HTTP")


def _credentials(settings: MetricsSource) -> credentials.Credentials:
    if settings.token is not None:
        return credentials.bearer(settings.token, "Token" if settings.kind == "influxdb" else "Bearer")
    if settings.password is not None:
        return credentials.basic(settings.user, settings.password)
    return credentials.none
