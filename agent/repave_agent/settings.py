"""The settings of a region's agent: /etc/repave/agent.toml, REPAVE_AGENT_* and their defaults.

What providers and balancers take is declared in their folders and added by settings_with().
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from repave_agent.certificates.options import CertificatesOptions
from repave_agent.dns.options import DnsOptions
from repave_agent.secrets.options import SecretsOptions
from repave_protos.daemon.logs import LogSettings
from repave_protos.daemon.settings import Address, Settings, named_in_environment
from repave_protos.daemon.settings import Pairs as Pairs
from repave_protos.daemon.settings import Words as Words
from repave_protos.daemon.settings import pairs_of as pairs_of
from repave_protos.daemon.settings import words_of as words_of
from repave_protos.package.signing import Signatures

Section = TypeVar("Section", bound=Settings)
CONTROLLERS_MAX = 16
REGION_LENGTH_MAX = 48


def _sizes(given: object) -> object:
    """Sizes may be a table of words, or a line such as "xl=m7i.2xlarge,m6i.2xlarge l=m7i.xlarge"."""
    if isinstance(given, str):
        given = {name: value.split(",") for name, value in cast("Mapping[str, str]", pairs_of(given)).items()}
    if not isinstance(given, Mapping):
        raise ValueError('write words and what they stand for, such as xl = ["m7i.2xlarge", "m6i.2xlarge"]')
    sizes = {word: [each] if isinstance(each, str) else each for word, each in given.items()}
    for word, names in sizes.items():
        if not word or not isinstance(names, list | tuple) or not names or not all(names):
            raise ValueError(
                f"{word or 'a word'} stands for no size: name one, or a list, the best one first"
            )
    return sizes


Sizes = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_sizes)]


def _region(given: str) -> str:
    if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", given) is None or len(given) > REGION_LENGTH_MAX:
        raise ValueError(
            f"write up to {REGION_LENGTH_MAX} of a-z and 0-9, with single - inside, such as eu-paris"
        )
    return given


def _addresses(given: object) -> object:
    """Of one controller, or of several: a list, or words."""
    return tuple(given.replace(",", " ").split()) if isinstance(given, str) else given


def _distinct(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(set(addresses)) == len(addresses) <= CONTROLLERS_MAX:
        raise ValueError(f"name each controller once, {CONTROLLERS_MAX} at most, such as c1:7443 c2:7443")
    return addresses


Controllers = Annotated[tuple[Address, ...], BeforeValidator(_addresses), AfterValidator(_distinct)]


class PackagesSettings(Settings):
    """Where hosts of a cloud fetch their packages from their agent. `authority`: certificates to trust beside
    the public ones, of stores that the controller leads to."""

    listen: Address = "127.0.0.1:7480"
    url: str = ""
    authority: Path | None = None


class ImagesSettings(Settings):
    """How long baked images are kept: `keep` of each application, and all that are younger than `days`. None
    is removed where `keep` is 0."""

    keep: Annotated[int, Field(ge=0, le=10_000)] = 10
    days: Annotated[float, Field(ge=0, le=3650)] = 30.0


class MetricsSettings(Settings):
    """For Prometheus, at /metrics; nothing listens without `listen`. `certificate` and `key` are PEM files;
    `plaintext` lets others than this machine read without them."""

    listen: Address | Literal[""] = ""
    certificate: Path | None = None
    key: Path | None = None
    plaintext: bool = False


class LimitSettings(Settings):
    """Bounds of what the agent does at once."""

    launches_in_flight: Annotated[int, Field(ge=1, le=1000)] = 20
    launches_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 1000
    orphan_grace_seconds: Annotated[float, Field(ge=1, le=86_400)] = 10.0
    inspect_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 300.0


class AgentSettings(Settings):
    """`state` holds all that the agent knows and makes: journal, packages, hosts, the balancer's files.

    `controller` may name several that share a store: any of them will do.
    `signatures`: which keys must have signed the packages of which applications, by globs; the first counts.
    """

    region: Annotated[str, AfterValidator(_region)]
    controller: Controllers = ("127.0.0.1:7443",)
    state: Path = Field(
        Path("/var/lib/repave/agent"), json_schema_extra=named_in_environment("STATE_DIRECTORY")
    )
    provider: str = "local"
    balancer: str = "haproxy"
    packages: PackagesSettings = PackagesSettings()
    images: ImagesSettings = ImagesSettings()
    signatures: Signatures = Field(default={})
    metrics: MetricsSettings = MetricsSettings()
    limits: LimitSettings = LimitSettings()
    logs: LogSettings = LogSettings()
    secrets: SecretsOptions = SecretsOptions()
    dns: DnsOptions = DnsOptions()
    certificates: CertificatesOptions = CertificatesOptions()

    def section(self, name: str, model: type[Section]) -> Section:
        """The options of a provider or balancer."""
        found = getattr(self, name)
        assert isinstance(found, model)
        return found


def settings_with(
    providers: Mapping[str, type[Settings]], balancers: Mapping[str, type[Settings]]
) -> type[AgentSettings]:
    """The settings with a section of that name for each, from which `provider` and `balancer` choose."""
    fields: dict[str, Any] = {name: (model, model()) for name, model in {**providers, **balancers}.items()}
    fields["provider"] = (Literal[*providers], "local")
    fields["balancer"] = (Literal[*balancers], "haproxy")
    return create_model("AgentSettings", __base__=AgentSettings, __doc__=AgentSettings.__doc__, **fields)
