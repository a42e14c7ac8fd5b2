"""Whether a spec and its regions' agents mean the same provider and balancer, and these can do what it says.

Which kinds there are, and what each can do, is declared once: in the agent's folders, or in another package
that the controller has never heard of. Agents say it in their Hello, so the check is made when a release is
planned or ordered. A region whose agent has never been here is believed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from repave_controller.spec.regional import Place, machine_in
from repave_controller.spec.sections import NO_MACHINE_IMAGE
from repave_controller.spec.spec import Spec, first_region
from repave_controller.spec.traffic import Traffic
from repave_protos.protocol.capabilities import (
    counts_requests,
    front_abilities,
    has_tunnel_timeout,
    knows_workers,
    runs_commands,
    runs_jobs,
    secret_sources,
    supports_testers,
    takes_machine_images,
    takes_sizes,
    takes_spot,
    takes_timeouts,
    tells_health,
)
from repave_protos.protocol.fronts import ability_in_words, needs
from repave_protos.protocol.values import Hello, RegionName

CORRECT = "correct one of them"
OLD_AGENT = "an agent from before there was such a choice is to be upgraded"
NO_SECRETS_REMEDY = (
    "upgrade the agent, or leave the region out; servers of a cloud read their own secrets, as "
    "docs/secrets.md shows"
)
SETTINGS_OF = {
    "vault": "secrets.vault.address",
    "file": "secrets.file.folder",
    "env": "secrets.env.enabled",
}
"""By source: without what no agent reads from there."""
SETTINGS_OF_CERTIFICATES = {
    "certificate_vault": "secrets.vault.address",
    "certificate_acme-http-01": "certificates.acme.agrees_to_terms, with its extra acme",
    "certificate_acme-dns-01": "certificates.acme.agrees_to_terms and dns.kind, with its extra acme",
}
"""Likewise, by ability."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """`field` is what to change in the spec, such as regions.0.provider."""

    field: str
    text: str


def disagreements(spec: Spec, agents: Mapping[RegionName, Hello]) -> Iterator[Disagreement]:
    """In the order of the spec's regions."""
    for index, region in enumerate(spec.regions):
        hello = agents.get(RegionName(region.name))
        if hello is None:
            continue
        wanted, has = region.provider, hello.provider
        if wanted not in (None, has):
            text = f"the agent of {region.name} has the provider {has}, the spec says {wanted}"
            yield Disagreement(f"regions.{index}.provider", f"{text}: {CORRECT}")
        else:
            yield from _of_provider(spec, hello, index)
        if spec.traffic is not None:
            yield from _of_balancer(spec.traffic, hello)
        elif not knows_workers(hello.capabilities):
            text = f"the agent of {region.name} ({hello.agent_version}) knows no applications without traffic"
            yield Disagreement("traffic", f"{text}: upgrade it, or leave the region out")
        if region.size.by in ("requests", "queue") and counts_requests(hello.capabilities) is not True:
            text = (
                f"balancer {hello.balancer} of {region.name} (agent {hello.agent_version}) counts no "
                "requests of each server group: take by: metric, or a number; an agent from before there "
                "were such counts is to be upgraded"
            )
            yield Disagreement(f"regions.{index}.size.by", text)
        if spec.health.by == "balancer" and not tells_health(hello.capabilities):
            yield Disagreement("health.by", _untold(hello))


def _of_balancer(traffic: Traffic, hello: Hello) -> Iterator[Disagreement]:
    wanted, has, region = traffic.balancer, hello.balancer, hello.region
    if wanted not in (None, has):
        text = f"the agent of {region} has the balancer {has}, the spec says {wanted}"
        yield Disagreement("traffic.balancer", f"{text}: {CORRECT}, or leave it out")
    elif traffic.timeouts is not None and not takes_timeouts(hello.capabilities):
        text = f"balancer {has} of {region} has its own: leave it out, and set them there"
        yield Disagreement("traffic.timeouts", text)
    elif _sets_tunnel(traffic) and not has_tunnel_timeout(hello.capabilities):
        text = f"balancer {has} of {region} has none of its own for upgraded connections"
        yield Disagreement("traffic.timeouts.tunnel", f"{text}, client's and server's hold: leave it out")
    elif traffic.testers is not None and not supports_testers(hello.capabilities):
        text = f"balancer {has} of {region} can't tell testers: leave it out"
        yield Disagreement("traffic.testers", text)
    yield from _of_fronts(traffic, hello)


def _of_fronts(traffic: Traffic, hello: Hello) -> Iterator[Disagreement]:
    has = front_abilities(hello.capabilities)
    for ability, option in needs(traffic.compiled_fronts).items():
        setting = SETTINGS_OF_CERTIFICATES.get(ability) if "https" in has else None
        if ability not in has and setting is not None:
            text = (
                f"the agent of {hello.region} takes no {ability_in_words(ability)}: set {setting} in its "
                "settings, or leave the region out"
            )
            yield Disagreement(f"traffic.fronts.{option}", text)
            return
        if ability not in has:
            text = (
                f"balancer {hello.balancer} of {hello.region} (agent {hello.agent_version}) has no "
                f"{ability_in_words(ability)}: leave it out, or the region; "
                + (_elsewhere(ability) if has else OLD_AGENT)
            )
            yield Disagreement(f"traffic.fronts.{option}", text)
            return


def _elsewhere(ability: str) -> str:
    """What to do where the way in is the balancer's operator's."""
    if ability == "https" or ability.startswith("certificate_"):
        return (
            "there its operator lets a port end TLS, and the front is one of http (docs/balancers.md, Fronts "
            "elsewhere)"
        )
    return "there its operator sets that (docs/balancers.md, Fronts elsewhere)"


def _untold(hello: Hello) -> str:
    """An agent that says nothing may be one of before there was such a choice."""
    return (
        f"balancer {hello.balancer} of {hello.region} (agent {hello.agent_version}) does not say of each "
        "host what the agent's probe would find: leave it out, or the region; an agent from before there "
        "was such a choice is to be upgraded"
    )


def _sets_tunnel(traffic: Traffic) -> bool:
    timeouts = traffic.timeouts
    return timeouts is not None and "tunnel" in timeouts.model_fields_set


def _of_provider(spec: Spec, hello: Hello, index: int) -> Iterator[Disagreement]:
    provider = f"provider {hello.provider} of {hello.region}"
    image, written = machine_in(spec.host, spec.regions[index], index, "image")
    field, has_images = _field(written), takes_machine_images(hello.capabilities)
    if image == NO_MACHINE_IMAGE and has_images:
        yield Disagreement(field, f"{provider} starts machines of an image: name it, or leave it out")
    if image not in (None, NO_MACHINE_IMAGE) and not has_images:
        yield Disagreement(field, f"{provider} has no machine images: leave it out")
    yield from _of_machines(spec, hello, index)
    if spec.health.command is not None and not runs_commands(hello.capabilities):
        text = f"{provider} runs nothing inside hosts: use health.http or health.tcp"
        yield Disagreement("health.command", text)
    yield from _of_secrets(spec, hello)
    if not runs_jobs(hello.capabilities):
        for moment, number, job in spec.jobs.named:
            if (job.region or first_region(spec)) == hello.region:
                who = f"{provider} (agent {hello.agent_version})"
                text = (
                    f"{who} does not say that it can tell how a command ended: name a region that can, or "
                    "leave the job out; an agent from before there were jobs is to be upgraded"
                )
                yield Disagreement(f"jobs.{moment}.{number}", text)


def _field(written: Place) -> str:
    return ".".join(map(str, written))


def _of_machines(spec: Spec, hello: Hello, index: int) -> Iterator[Disagreement]:
    """An agent that says nothing may be one of before there were such fields."""
    who = f"provider {hello.provider} of {hello.region} (agent {hello.agent_version})"
    remedy = "leave it out, or the region; an agent from before there was such a choice is to be upgraded"
    size, written = machine_in(spec.host, spec.regions[index], index, "size")
    if size is not None and not takes_sizes(hello.capabilities):
        yield Disagreement(_field(written), f"{who} makes no hosts of a chosen size: {remedy}")
    spot, written = machine_in(spec.host, spec.regions[index], index, "spot")
    if spot and not takes_spot(hello.capabilities):
        yield Disagreement(_field(written), f"{who} makes no spot machines: {remedy}")


def _of_secrets(spec: Spec, hello: Hello) -> Iterator[Disagreement]:
    if not spec.host.secrets:
        return
    sources, region = secret_sources(hello.capabilities), hello.region
    if sources is None:
        text = (
            f"the agent of {region} ({hello.agent_version}, provider {hello.provider}) hands no secrets to "
            f"hosts, and would start them without: {NO_SECRETS_REMEDY}"
        )
        yield Disagreement("host.secrets", text)
        return
    for name, secret in spec.host.secrets.items():
        source, _ = secret.place
        if source not in sources:
            others = f", it reads {' and '.join(sources)}" if sources else ""
            text = f"the agent of {region} reads none from {source}{others}: set {SETTINGS_OF[source]} there"
            yield Disagreement(f"host.secrets.{name}.{source}", text)
