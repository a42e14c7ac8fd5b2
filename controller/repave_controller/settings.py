"""The settings of a controller: /etc/repave/controller.toml, REPAVE_CONTROLLER_* and their defaults."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from repave_controller.core.domain.audience import OCCASIONS, USUAL
from repave_controller.core.domain.limits import Limits
from repave_controller.core.rules.retention import Rule, Rules
from repave_controller.security.addresses import allowed_of
from repave_controller.security.outbound import is_safe
from repave_controller.security.people import Rules as PeopleRules
from repave_controller.security.principals import NAME
from repave_protos.daemon.logs import LogSettings
from repave_protos.daemon.settings import Address, Settings, named_in_environment, of_form
from repave_protos.package.signing import Signatures, table

HOST = r"[A-Za-z0-9.:\[\]-]+"
"""A host of a URL, and its port."""


class HttpSettings(Settings):
    """The API for people and their tools; agents fetch packages here.

    `certificate` and `key` are PEM files, read anew when they change; `authority` is the certificate that
    clients check them with, where it is not one that every machine knows. Without them, and with accounts,
    the authority of the agents serves. `url`: the address that agents and people reach, if not `listen`.
    """

    listen: Address = "127.0.0.1:7400"
    url: Annotated[str, of_form(rf"(https?://{HOST})?", "a URL such as https://repave.example.com")] = ""
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None


class GrpcSettings(Settings):
    """Where agents dial in."""

    listen: Address = "127.0.0.1:7443"


class AgentsSettings(Settings):
    """Where agents join, renew and fetch packages, over HTTPS; nothing listens there without TLS."""

    listen: Address = "127.0.0.1:7444"


def _line(given: object) -> object:
    """A list, as TOML has it, may be a line of words."""
    return " ".join(map(str, given)) if isinstance(given, list) else given


def _hosts(words: str) -> str:
    allowed_of(words)
    return words


class TlsSettings(Settings):
    """`names` are in the controller's certificate, and the first one is shown to who lets an agent join. The
    authority is repave's own unless `ca`, and `ca_key` with it, name files of the operator."""

    enabled: bool = False
    names: Annotated[str, BeforeValidator(_line)] = ""
    ca: str = ""
    ca_key: str = ""

    @model_validator(mode="after")
    def _check(self) -> "TlsSettings":
        if bool(self.ca) != bool(self.ca_key):
            raise ValueError("ca and ca_key go together: set both, or neither")
        return self


def _words(given: object) -> object:
    """A list, as TOML has it, or a line of words."""
    return tuple(given.split()) if isinstance(given, str) else given


def _pairs(given: object) -> object:
    """A table, as TOML has it, or a line of GROUP=TEAM."""
    if not isinstance(given, str):
        return given
    pairs = [each.partition("=") for each in given.split()]
    if not all(equals and group and team for group, equals, team in pairs):
        raise ValueError("write GROUP=TEAM, with spaces between several")
    return {group: team for group, _, team in pairs}


Claim = Annotated[str, Field(min_length=1, max_length=100)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class OidcSettings(Settings):
    """People log in with an issuer of OpenID Connect, which knows this controller as `client_id`; without
    `client_secret_file` as a public client. `authority`: PEM of a private one that the issuer's certificate
    is of.

    `name_claim` is what people are called by, `groups_claim` which groups they are in; `teams` puts them into
    teams by their groups, and `admins` are groups that may do everything. `domains` and `groups` keep all
    others out. A log-in is good for `expires_hours`. `device` allows log-ins by a code; `loopback` is how the
    issuer knows the address of a command line that waits for its browser.
    """

    issuer: str = ""
    client_id: Annotated[str, Field(max_length=300)] = ""
    client_secret_file: Path | None = None
    authority: Path | None = None
    scopes: Words = ("openid", "profile", "email")
    name_claim: Claim = "email"
    groups_claim: Claim = "groups"
    teams: Annotated[dict[str, str], BeforeValidator(_pairs)] = {}  # noqa: RUF012  # frozen
    admins: Words = ()
    domains: Words = ()
    groups: Words = ()
    expires_hours: Annotated[float, Field(gt=0, le=24 * 7)] = 12.0
    device: bool = True
    loopback: Literal["127.0.0.1", "localhost"] = "127.0.0.1"

    @model_validator(mode="after")
    def _check(self) -> "OidcSettings":
        if not self.issuer:
            return self
        if not is_safe(self.issuer) or "?" in self.issuer:
            raise ValueError(
                f"issuer: expected https://..., exactly as the issuer calls itself, not {self.issuer!r}"
            )
        if not self.client_id:
            raise ValueError("client_id: name what the issuer knows this controller as")
        if "openid" not in self.scopes:
            raise ValueError("scopes: openid must be among them")
        for team in self.teams.values():
            if NAME.fullmatch(team) is None:
                raise ValueError(f"teams: {team!r} is no name of letters, digits and . _ @ + -")
        return self

    @property
    def rules(self) -> PeopleRules:
        domains = tuple(each.lower().removeprefix("@") for each in self.domains)
        return PeopleRules(self.name_claim, self.groups_claim, domains, self.groups, self.teams, self.admins)


class HostCredential(Settings):
    """Of a host that packages are fetched from: `token` is a file with a bearer token, `password` one for
    `user`. Only specs of `apps` (globs) may use it."""

    token: Path | None = None
    user: str = ""
    password: Path | None = None
    apps: list[str] = Field(default=["*"])

    @model_validator(mode="after")
    def _check(self) -> "HostCredential":
        if (self.token is None) == (self.password is None) or bool(self.user) != (self.password is not None):
            raise ValueError("give token, or user and password; token and password are paths of files")
        return self


S3Region = Annotated[str, of_form("[a-z0-9-]+", "a region such as eu-central-1")]
Endpoint = Annotated[
    str,
    of_form(
        rf"(https://{HOST}/?|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?/?)?",
        "a URL without a path, such as https://s3.example.com; http only on this machine",
    ),
]


class S3Bucket(Settings):
    """A bucket of a store of the kind of S3. `credentials` is a file as AWS has it (aws_access_key_id = ...).
    `direct`: agents fetch from the store itself. Only specs of `apps` (globs) may use it."""

    endpoint: Endpoint = ""
    region: S3Region = "us-east-1"
    credentials: Path
    apps: list[str] = Field(default=["*"])
    direct: bool = False


class ArtifactsSettings(Settings):
    """Where specs may have packages fetched from, beside the public internet: `allow` names hosts (globs),
    addresses and networks that are private. `authority`: of a private certificate authority."""

    allow: Annotated[str, BeforeValidator(_line), AfterValidator(_hosts)] = ""
    authority: Path | None = None
    proxy: Annotated[str, of_form(rf"(http://{HOST})?", "a URL such as http://proxy.example.com:3128")] = ""
    seconds: Annotated[float, Field(ge=1, le=86_400)] = 900.0
    credentials: Annotated[dict[str, HostCredential], BeforeValidator(table)] = Field(default={})
    s3: Annotated[dict[str, S3Bucket], BeforeValidator(table)] = Field(default={})


class PackagesSettings(Settings):
    """Where packages are stored. `auto`: in this machine's state directory, and with a store in PostgreSQL in
    its database, where every controller finds them. `s3`: in `bucket` of a store of the kind of S3, its keys
    in `credentials`, a file as AWS has it; with `direct` agents fetch from there. What is elsewhere is kept
    in the state directory too, up to about `cache_gb`."""

    store: Literal["auto", "directory", "database", "s3"] = "auto"
    cache_gb: Annotated[float, Field(gt=0, le=100_000)] = 20.0
    bucket: Annotated[
        str,
        of_form(
            "([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?",
            "the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens",
        ),
    ] = ""
    endpoint: Endpoint = ""
    region: S3Region = "us-east-1"
    credentials: Path | None = None
    prefix: Annotated[
        str, Field(max_length=500), of_form("([A-Za-z0-9._-]+/)*", "folders that end with /, such as repave/")
    ] = ""
    direct: bool = False

    @model_validator(mode="after")
    def _check(self) -> "PackagesSettings":
        if self.store == "s3" and not (self.bucket and self.credentials):
            raise ValueError('store = "s3" needs bucket, and credentials: a file with its keys')
        if self.store != "s3" and (self.bucket or self.endpoint or self.credentials or self.direct):
            raise ValueError('bucket, endpoint, credentials and direct are for store = "s3"')
        return self


Limit = Annotated[int, Field(ge=0)]


class LimitSettings(Settings):
    """What all applications together may have under way; 0: no limit."""

    releases: Limit = 100
    regions_in_flight: Limit = 0
    hosts_in_flight_percent: Annotated[float, Field(ge=0, le=100)] = 0.0
    extra_hosts: Limit = 0

    @property
    def in_force(self) -> Limits:
        return Limits(self.releases, self.regions_in_flight, self.hosts_in_flight_percent, self.extra_hosts)


Days = Annotated[float, Field(ge=0, le=36_500)]


class RetentionSettings(Settings):
    """How long what only grows is kept: so many days, and so many of them; 0: no such bound. History and
    analyses are counted by rollouts of each application. What a rollback, a queued release or a client's
    retry needs stays in any case, and of events and history the newest."""

    events_days: Days = 90.0
    events_count: Limit = 1_000_000
    receipts_days: Days = 30.0
    receipts_count: Limit = 100_000
    history_days: Days = 365.0
    history_count: Limit = 1000
    packages_days: Days = 90.0
    packages_count: Limit = 0
    audit_days: Days = 0.0
    audit_count: Limit = 0
    analyses_days: Days = 90.0
    analyses_count: Limit = 50

    @property
    def rules(self) -> Rules:
        return Rules(
            events=Rule(self.events_days, self.events_count),
            receipts=Rule(self.receipts_days, self.receipts_count),
            history=Rule(self.history_days, self.history_count),
            packages=Rule(self.packages_days, self.packages_count),
            audit=Rule(self.audit_days, self.audit_count),
            analyses=Rule(self.analyses_days, self.analyses_count),
        )


PORT_MAX = 65535


def _database(url: str) -> str:
    if url and not _is_database(url):
        raise ValueError("expected postgresql://user@host/database, or host:port")
    return url


def _is_database(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket without its end
        return False
    hosts = parts.netloc.rpartition("@")[2].split(",")
    ports = [each.rpartition("]")[2].partition(":")[2] or "5432" for each in hosts]
    return (
        parts.scheme in ("postgresql", "postgres")
        and bool(parts.path.strip("/"))
        and all(each.isdecimal() and int(each) <= PORT_MAX for each in ports)
    )


DatabaseUrl = Annotated[str, AfterValidator(_database)]


class StoreSettings(Settings):
    """Where decisions are kept: in `state`, or in the PostgreSQL database of `url`, which several controllers
    may share. `direct_url` leads past a pooler such as PgBouncer; `password_file` keeps the password out of
    the URLs."""

    url: DatabaseUrl = ""
    direct_url: DatabaseUrl = ""
    password_file: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> "StoreSettings":
        if not self.url and (self.direct_url or self.password_file is not None):
            raise ValueError("direct_url and password_file belong to url: set it too")
        return self


def _url(text: str) -> str:
    if not is_safe(text):
        raise ValueError("expected https://..., or http:// on this machine, without a user or #")
    return text


Globs = Annotated[tuple[str, ...], BeforeValidator(_words), Field(min_length=1)]
Named = Annotated[
    str,
    of_form(
        "[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?",
        "a name: 1 to 48 lower-case letters, digits and hyphens, with no hyphen at an end",
    ),
]


class CloudEventsSettings(Settings):
    """A receiver of CloudEvents. `secret`: a file with the secrets that sign, one a line. `kinds` and `apps`:
    of which events it is told, by globs; without `kinds` of what releases come to. `authority`: PEM of a
    private one. `allow`: networks of a link."""

    url: Annotated[str, AfterValidator(_url)]
    secret: Path
    kinds: Words = ()
    apps: Globs = ("*",)
    authority: Path | None = None
    allow: Annotated[str, BeforeValidator(_line), AfterValidator(_hosts)] = ""


def _template(text: str) -> str:
    left = re.sub(r"\{(version|tag|commit|short|number|branch)\}", "", text)
    if "{" in left or "}" in left:
        raise ValueError("it may have {version}, {tag}, {commit}, {short}, {number} and {branch}")
    return text


class HookSettings(Settings):
    """A webhook at /hooks/NAME. `from` whom, and `secret`: a file with what shows that, one a line; of Travis
    PEM of its public key, or none: then it is asked for at `config_url`. What is built of `application`, by
    these globs, is released: fetched only (`register`), planned (`plan`), or released (`release`), with
    `spec`, a file, or the spec that serves. Its principal, hook/NAME, has `role` for the application."""

    sender: Literal["github", "gitlab", "circleci", "jenkins", "travis", "generic"] = Field(alias="from")
    secret: Path | None = None
    config_url: Annotated[str, AfterValidator(_url)] = "https://api.travis-ci.com/config"
    application: Named
    policy: Literal["register", "plan", "release"] = "release"
    spec: Path | None = None
    events: Words = ()
    repositories: Words = ()
    workflows: Words = ()
    branches: Words = ("main", "master")
    tags: Words = ()
    paths: Words = ()
    environments: Words = ()
    version: Annotated[str, Field(max_length=200), AfterValidator(_template)] = ""
    role: Literal["deployer", "viewer"] = "deployer"

    @model_validator(mode="after")
    def _check(self) -> "HookSettings":
        if self.secret is None and self.sender != "travis":
            raise ValueError("secret: name a file with the secret that the sender signs with")
        return self


class GitOpsSettings(Settings):
    """A branch of a git repository whose specs, *.yaml in the folder `path`, are released (`release`), or
    only planned (`plan`), each time that they change. `token` is a file with TOKEN or USER:TOKEN, for
    https://; `ssh_key` and `known_hosts` for ssh. `apps`: the applications that it may release, by globs."""

    repository: Annotated[
        str,
        of_form(
            r"(https://|ssh://|file://|/|[A-Za-z0-9._-]+@)[^\s]+",
            "https://..., ssh://..., git@HOST:PATH, or an absolute path on the controller's machine",
        ),
    ]
    branch: Annotated[str, of_form("[A-Za-z0-9][A-Za-z0-9._/-]{0,200}", "a branch such as main")] = "main"
    path: Annotated[
        str, of_form("([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?", "a folder of the repository, such as apps")
    ] = "apps"
    every_seconds: Annotated[float, Field(ge=5, le=86_400)] = 60.0
    policy: Literal["plan", "release"] = "release"
    apps: Globs
    token: Path | None = None
    ssh_key: Path | None = None
    known_hosts: Path | None = None


class PromotionSettings(Settings):
    """From one stack to the next: what was released to APP-`from` and has served there for `soak_hours` is
    proposed to APP-`to`, with the same package. A person approves it, or it is `automatic`. `apps`: globs of
    APP."""

    source: Named = Field(alias="from")
    to: Named
    apps: Globs = ("*",)
    soak_hours: Annotated[float, Field(ge=0, le=24 * 90)] = 24.0
    approve: Literal["person", "automatic"] = "person"

    @model_validator(mode="after")
    def _check(self) -> "PromotionSettings":
        if self.source == self.to:
            raise ValueError("from and to are the same stack")
        return self


def _occasions(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if word not in OCCASIONS:
            raise ValueError(f"{word!r} is none of {', '.join(OCCASIONS)}")
    return words


class NotifySettings(Settings):
    """People who are told by apprise. `address`: a file with the target's address, as apprise has it:
    slack://, workflows:// (Teams), mailto(s)://, pagerduty://, json(s)://. `on`: of what, `apps`: of which
    applications, by globs, beside what specs ask for. `authority`: PEM of the certificates to trust instead.
    `allow`: further networks and hosts that may be private."""

    address: Path
    on: Annotated[Words, AfterValidator(_occasions)] = USUAL
    apps: Words = ("*",)
    authority: Path | None = None
    allow: Annotated[str, BeforeValidator(_line), AfterValidator(_hosts)] = ""


SourceKind = Literal["prometheus", "graphite", "influxdb", "datadog", "cloudwatch", "http", "file"]
WAY = r"([A-Za-z_][A-Za-z0-9_-]*|\[([0-9]+|\*)\])(\.[A-Za-z_][A-Za-z0-9_-]*|\[([0-9]+|\*)\])*"
"""Of values in JSON."""
Way = Annotated[
    str, of_form(f"({WAY})?", "the way to values in JSON, such as data.points[*].value or [*][1]")
]
NEEDED: Mapping[str, tuple[str, ...]] = {
    "prometheus": ("url",),
    "graphite": ("url",),
    "influxdb": ("url", "database"),
    "datadog": ("key", "application_key"),
    "cloudwatch": ("region", "credentials"),
    "http": ("url", "values"),
    "file": ("path",),
}
OF_KIND: Mapping[str, tuple[str, ...]] = {
    "database": ("influxdb",),
    "key": ("datadog",),
    "application_key": ("datadog",),
    "region": ("cloudwatch",),
    "credentials": ("cloudwatch",),
    "values": ("http",),
    "times": ("http",),
    "path": ("file",),
    "token": ("prometheus", "graphite", "influxdb", "http"),
    "user": ("prometheus", "graphite", "influxdb", "http"),
}
"""Settings that only sources of these kinds have."""


def _metrics_url(text: str) -> str:
    if text and (not re.match(rf"https?://{HOST}(/|\?|\Z)", text) or re.search(r"[#\s]", text)):
        raise ValueError("expected https://HOST/... or http://HOST/..., without a user, spaces or #")
    return text


class MetricsSource(Settings):
    """Where analyses of canaries read numbers; specs name it, and can't say where it is. `token`: a file with
    a bearer token; or `user`, and `password`: a file. Of `datadog` `key` and `application_key` are files, of
    `cloudwatch` `credentials`, as AWS has it. Of `http` the `url` has placeholders, and `values` and `times`
    say where they are in the JSON. `authority`: PEM of a private one. `allow`: networks of a link.
    `step_seconds`: between two numbers, such as four scrapes. Only specs of `apps` (globs) may use it."""

    kind: SourceKind
    url: Annotated[str, Field(max_length=2000), AfterValidator(_metrics_url)] = ""
    token: Path | None = None
    user: Annotated[str, Field(max_length=200), of_form("[^:]*", "a user without a colon")] = ""
    password: Path | None = None
    database: Annotated[str, Field(max_length=200)] = ""
    key: Path | None = None
    application_key: Path | None = None
    region: Annotated[str, of_form("([a-z0-9-]+)?", "a region such as eu-central-1")] = ""
    credentials: Path | None = None
    values: Way = ""
    times: Way = ""
    path: Path | None = None
    authority: Path | None = None
    allow: Annotated[str, BeforeValidator(_line), AfterValidator(_hosts)] = ""
    seconds: Annotated[float, Field(ge=0.1, le=120)] = 15.0
    step_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    apps: Globs = ("*",)

    @model_validator(mode="after")
    def _check(self) -> "MetricsSource":
        for name in NEEDED[self.kind]:
            if not getattr(self, name):
                raise ValueError(f'kind = "{self.kind}" needs {name}')
        for name, kinds in OF_KIND.items():
            if getattr(self, name) and self.kind not in kinds:
                raise ValueError(f"{name} is for {' and '.join(kinds)}, not for {self.kind}")
        if bool(self.user) != (self.password is not None) or (self.user and self.token is not None):
            raise ValueError("give token, or user and password; token and password are paths of files")
        return self


class AnalysisSettings(Settings):
    """How canaries are judged: `sources` of metrics beside the balancer's own numbers, by the names that
    specs have for them. `at_once`: so many analyses are made at a time."""

    sources: Annotated[dict[Named, MetricsSource], BeforeValidator(table)] = Field(default={})
    at_once: Annotated[int, Field(ge=1, le=100)] = 8

    @model_validator(mode="after")
    def _check(self) -> "AnalysisSettings":
        if "balancer" in self.sources:
            raise ValueError(
                "sources: balancer is what the balancers themselves have counted: call it otherwise"
            )
        return self


class ControllerSettings(Settings):
    """`state` holds the store (controller.db), unless that is in PostgreSQL, and the packages (images/).

    `name`: what this controller is called among those that share a store; else its machine's name.
    With `accounts` every request needs a token. `prices`: a CSV file of what machines cost. `installation`
    names a store that is made anew in place of one that was lost; its agents then obey it. `signatures`:
    which keys must have signed the packages of which applications, by globs; the first counts.
    """

    state: Path = Field(Path("/var/lib/repave"), json_schema_extra=named_in_environment("STATE_DIRECTORY"))
    accounts: bool = False
    prices: Path | None = None
    name: Annotated[
        str, of_form("[A-Za-z0-9._-]{0,64}", "at most 64 letters, digits, dots, underscores and hyphens")
    ] = ""
    installation: Annotated[
        str, of_form("[A-Za-z0-9_-]{0,64}", "at most 64 letters, digits, underscores and hyphens")
    ] = ""
    store: StoreSettings = StoreSettings()
    http: HttpSettings = HttpSettings()
    grpc: GrpcSettings = GrpcSettings()
    agents: AgentsSettings = AgentsSettings()
    tls: TlsSettings = TlsSettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    packages: PackagesSettings = PackagesSettings()
    artifacts: ArtifactsSettings = ArtifactsSettings()
    signatures: Signatures = Field(default={})
    logs: LogSettings = LogSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    oidc: OidcSettings = OidcSettings()
    hooks: Annotated[dict[Named, HookSettings], BeforeValidator(table)] = Field(default={})
    gitops: Annotated[dict[Named, GitOpsSettings], BeforeValidator(table)] = Field(default={})
    promotions: Annotated[dict[Named, PromotionSettings], BeforeValidator(table)] = Field(default={})
    cloudevents: Annotated[dict[Named, CloudEventsSettings], BeforeValidator(table)] = Field(default={})
    notify: Annotated[dict[Named, NotifySettings], BeforeValidator(table)] = Field(default={})

    @model_validator(mode="after")
    def _check(self) -> "ControllerSettings":
        if twice := sorted(self.cloudevents.keys() & self.notify.keys()):
            raise ValueError(
                f"{twice[0]} is a target of cloudevents and of notify: call one of them otherwise"
            )
        if self.oidc.issuer and not self.accounts:
            raise ValueError("oidc.issuer is for a controller with accounts: set accounts = true")
        return self
