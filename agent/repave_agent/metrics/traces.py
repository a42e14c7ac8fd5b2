"""What an agent does for a rollout, in the rollout's trace: launches, flips, the time until hosts are proven.

The controller tells with an order which trace it is of. Each class implements the port that it wraps, and
changes nothing of what passes; without traces none is there.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import Host, HostSpec, Link, Route, Upwards
from repave_agent.metrics.calls import MeasuredBalancer, MeasuredProvider
from repave_protos.daemon.spans import Context, Span, Spans, context_in
from repave_protos.protocol import wire
from repave_protos.protocol.values import ApplicationName, ApplicationReport, GroupName, Notice, RegionName


class AgentTraces:
    """One for an agent. `wall` gives Unix time."""

    def __init__(self, spans: Spans, region: RegionName, wall: Callable[[], float]) -> None:
        self._spans, self._region, self.wall = spans, region, wall
        self._of: dict[ApplicationName, Context] = {}
        self._numbers: dict[ApplicationName, int] = {}

    def hear(self, application: ApplicationName, traceparent: str) -> None:
        """With an order; "": nothing is rolled out any more."""
        context = context_in(traceparent)
        if context is not None:
            self._of[application] = context
        else:
            self._of.pop(application, None)

    def context_of(self, application: ApplicationName) -> Context | None:
        """None: nothing is rolled out."""
        return self._of.get(application)

    def tell(
        self,
        parent: Context | None,
        application: ApplicationName,
        name: str,
        began: float,
        error: str = "",
        **about: str | int,
    ) -> None:
        """From `began` until now."""
        if parent is None:
            return
        number = self._numbers[application] = self._numbers.get(application, 0) + 1
        told: dict[str, str | int] = {"repave.application": application, "repave.region": self._region}
        told |= {f"repave.{key}": value for key, value in about.items()}
        context = parent.child(name, began, number)
        self._spans.tell(Span(name, context, parent, began, self.wall(), told, error))

    def close(self) -> None:
        self._spans.close()


class TracedProvider(MeasuredProvider):
    """The same provider, whose launches become spans."""

    def __init__(self, provider: MeasuredProvider, traces: AgentTraces) -> None:
        self.__dict__.update(vars(provider))
        self._traces = traces

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        began, context, error = self._traces.wall(), self._traces.context_of(spec.application), ""
        try:
            return await super().launch(spec, package, secrets)
        except BaseException as raised:
            error = str(raised) or type(raised).__name__
            raise
        finally:
            about = {"group": spec.group, "host": spec.name, "provider": self.name}
            self._traces.tell(context, spec.application, "launch", began, error, **about)


class TracedBalancer(MeasuredBalancer):
    """The same balancer, whose flips become spans: one of each application whose split changes."""

    def __init__(self, balancer: MeasuredBalancer, traces: AgentTraces) -> None:
        self.__dict__.update(vars(balancer))
        self._traces = traces
        self._former: dict[ApplicationName, Route] = {}

    async def route(self, routes: tuple[Route, ...]) -> None:
        began, error = self._traces.wall(), ""
        try:
            await super().route(routes)
        except BaseException as raised:
            error = str(raised) or type(raised).__name__
            raise
        finally:
            for each in routes:
                if self._former.get(each.application) != each:
                    self._tell(each, began, error)
            if not error:
                self._former = {each.application: each for each in routes}

    def _tell(self, route: Route, began: float, error: str) -> None:
        context = self._traces.context_of(route.application)
        about = {"first": route.first, "second": route.second or "", "second_bp": route.second_bp}
        if route.baseline is not None:
            about |= {"baseline": route.baseline, "baseline_bp": route.baseline_bp}
        self._traces.tell(context, route.application, "flip", began, error, **about)


class TracedUpwards:
    """Implements ports.Upwards over another one: from the first report of a group that is being rolled out
    until all of its hosts are verified."""

    def __init__(self, upwards: Upwards, traces: AgentTraces) -> None:
        self._upwards, self._traces = upwards, traces
        self._began: dict[tuple[ApplicationName, GroupName], tuple[Context, float]] = {}

    def observed(self, applications: Mapping[ApplicationName, ApplicationReport]) -> None:
        for name, report in applications.items():
            context = self._traces.context_of(name)
            if context is not None:
                self._look(name, report, context)
        self._upwards.observed(applications)

    def notice(self, notice: Notice) -> None:
        self._upwards.notice(notice)

    def _look(self, name: ApplicationName, report: ApplicationReport, context: Context) -> None:
        for group in report.groups:
            place, coming = (name, group.group), group.launching + group.starting + group.healthy
            if coming and place not in self._began:
                self._began[place] = context, self._traces.wall()
            elif not coming and place in self._began:
                began_in, began = self._began.pop(place)
                failed = group.trouble if group.has_given_up else ""
                about: dict[str, str | int] = {"group": group.group, "hosts": group.verified}
                self._traces.tell(began_in, name, "verify", began, failed, **about)


class ListeningLink:
    """Implements ports.Link over another one, and hears of which trace each order is."""

    def __init__(self, link: Link, traces: AgentTraces) -> None:
        self._link, self._traces = link, traces

    async def send(self, message: bytes) -> None:
        await self._link.send(message)

    async def receive(self) -> AsyncIterator[bytes]:
        async for message in self._link.receive():
            told = wire.trace_of(message)
            if told is not None:
                self._traces.hear(*told)
            yield message

    async def close(self) -> None:
        await self._link.close()
