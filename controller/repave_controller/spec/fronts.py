"""The section `traffic.fronts` of a spec: the ways by which clients reach an application, and what becomes of
them. What goes together is known to both sides of the protocol: fronts.py there.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from repave_controller.spec.quantities import PositiveDuration, wrong
from repave_controller.spec.sections import Port, Section, as_written, contradiction
from repave_protos.protocol.certificate_places import (
    CERTIFICATE_SOURCES,
    NAMES_MAX,
    CertificateReference,
    certificate_fault,
)
from repave_protos.protocol.fronts import (
    FRONT_NAME,
    HOST_CONNECTIONS_MAX,
    RETRIES,
    RETRIES_MAX,
    Balance,
    FrontProtocol,
    TrafficFront,
    faults_of,
    host_fault,
    path_fault,
    plain_front,
)

UDP = (
    "udp is not taken: a switch moves requests and connections, and datagrams have neither, so none of them "
    "could be drained or counted; put a resolver or relay of your own before it, or offer it over tcp"
)


def _check_name(text: str) -> str:
    if FRONT_NAME.fullmatch(text) is None:
        raise wrong("must begin with a-z and have a-z, 0-9 and - only, at most 31 characters")
    return text


def _check_host(text: str) -> str:
    if fault := host_fault(text):
        raise wrong(fault)
    return text


def _check_path(text: str) -> str:
    if fault := path_fault(text):
        raise wrong(fault)
    return text


class Acme(Section):
    """Asks an ACME server, such as Let's Encrypt, for the certificate."""

    by: Literal["http-01", "dns-01"] = Field(
        "http-01",
        description="How it sees whose the names are. `http-01`: the region's balancer answers it at a front "
        "without TLS, or at `redirect_from`. `dns-01`: the agent sets a record.",
    )
    names: Annotated[tuple[str, ...], Field(strict=False, max_length=NAMES_MAX)] = Field(
        (), description="What it is for besides `match.host`. With dns-01 also names such as *.example.com."
    )


class Certificate(Section):
    """Where the certificate of a front is kept, with its key; exactly one of file, directory, vault and acme.
    The region's agent reads it, no other part."""

    file: str | None = Field(
        None,
        description="A PEM file of the agent's machine, with the certificate, its chain and its key, below "
        "the folder of its settings.",
    )
    directory: str | None = Field(
        None,
        description="A directory there with fullchain.pem and privkey.pem, or tls.crt and tls.key: as "
        "certbot and cert-manager write them.",
    )
    vault: str | None = Field(
        None,
        description="Mount, path and key in the Vault (or OpenBao) of the region's agent, such as "
        "kv/shop/tls#pem; the key holds what a file would.",
    )
    acme: Acme | None = Field(None, description="From an ACME server, as the agent's settings name it.")

    @property
    def reference(self) -> CertificateReference:
        if self.acme is not None:
            return CertificateReference("acme", self.acme.by, self.acme.names)
        written = ((source, getattr(self, source)) for source in CERTIFICATE_SOURCES)
        return next(CertificateReference(source, where) for source, where in written if where is not None)

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        written = [(source,) for source in CERTIFICATE_SOURCES if getattr(self, source) is not None]
        if not written:
            raise wrong(
                "say where it is kept: {file: /path}, {directory: /path}, {vault: kv/shop/tls#pem} or "
                "{acme: {}}"
            )
        if len(written) > 1:
            raise contradiction("a certificate has one source: name one of them", *written)
        if fault := certificate_fault(self.reference):
            raise contradiction(fault, written[0])
        return self


class Match(Section):
    """Which requests are for this front, so that several share a port."""

    host: Annotated[str, AfterValidator(_check_host)] | None = Field(
        None, description="Those for this host: shop.example.com, or *.example.com. With tcp: by SNI."
    )
    path: Annotated[str, AfterValidator(_check_path)] | None = Field(
        None, description="Those for this path and all below it: /api."
    )

    @model_validator(mode="after")
    def _matches_something(self) -> Self:
        if self.host is None and self.path is None:
            raise wrong("say what it matches: host: NAME, path: /PATH, or both")
        return self


class ProxyProtocol(Section):
    """Clients' addresses by the PROXY protocol."""

    accept: bool = Field(
        False, description="Clients come through a balancer that sends a header: no others can come in."
    )
    send: bool = Field(False, description="Hosts are sent a header, of version 2, on each connection.")


class FrontSection(Section):
    """One way by which clients reach the application."""

    name: Annotated[str, AfterValidator(_check_name)] | None = Field(
        None, description="What it is called: protocol and port, as https-443, if left out."
    )
    port: Port = Field(description="Where clients connect, in every region.")
    protocol: FrontProtocol = Field(
        "http", description="`http`, `https`, `grpc`: HTTP/2 end to end, or `tcp`."
    )
    to: Port | None = Field(None, description="The port of the hosts; that of `health` if left out.")
    certificate: Certificate | None = Field(
        None, description="For https, which needs one, and grpc or tcp, which may have one."
    )
    match: Match | None = Field(None, description="Only some requests, so that fronts share a port.")
    redirect_from: Port | None = Field(
        None,
        description="Requests at this port are sent on to this front, which is https.",
    )
    http2: bool | None = Field(
        None, description="Whether clients of https are offered HTTP/2; they are if left out."
    )
    balance: Balance = Field(
        "roundrobin",
        description="Which host is next. `roundrobin`: each in turn, `leastconn`: the one with the fewest "
        "connections, `random`: the better of two chosen by chance.",
    )
    host_connections: Annotated[int, Field(ge=1, le=HOST_CONNECTIONS_MAX)] | None = Field(
        None, description="How many one host gets at a time; others wait. No limit if left out."
    )
    queue: PositiveDuration = Field(
        as_written("5s"), description="How long a request waits for a host that is full, before a 503."
    )
    retries: Annotated[int, Field(ge=0, le=RETRIES_MAX)] = Field(
        RETRIES,
        description="How often a connection that fails is tried again, last at another host.",
    )
    proxy_protocol: ProxyProtocol | None = Field(
        None, description="Clients' addresses by the PROXY protocol."
    )
    sticky: Literal["cookie", "address"] | None = Field(
        None,
        description="Each client stays on one host of a group, by `cookie` of the balancer or `address`.",
    )

    @field_validator("protocol", mode="before")
    @classmethod
    def _says_why_not_udp(cls, written: Any) -> Any:
        if written == "udp":
            raise wrong(UDP)
        return written

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.http2 is not None and self.protocol != "https":
            raise contradiction("is for https; grpc always speaks it", ("protocol",), ("http2",))
        for option, fault in faults_of(self.front):
            raise contradiction(fault, tuple(option.split(".")))
        return self

    @property
    def front(self) -> TrafficFront:
        match, proxy = self.match or Match.model_construct(host=None, path=None), self.proxy_protocol
        return TrafficFront(
            name=self.name or f"{self.protocol}-{self.port}",
            port=self.port,
            protocol=self.protocol,
            to=self.to or 0,
            certificate=self.certificate.reference if self.certificate is not None else None,
            host=match.host or "",
            path=match.path or "",
            redirect_from=self.redirect_from or 0,
            has_http2=self.protocol == "grpc" or (self.protocol == "https" and self.http2 is not False),
            balance=self.balance,
            host_connections=self.host_connections or 0,
            queue_seconds=self.queue,
            retries=self.retries,
            accepts_proxy=proxy is not None and proxy.accept,
            sends_proxy=proxy is not None and proxy.send,
            sticky=self.sticky or "",
        )


def compiled(sections: tuple[FrontSection, ...]) -> tuple[TrafficFront, ...]:
    """() where the only one is what `traffic.port` says in short."""
    fronts = tuple(section.front for section in sections)
    if len(fronts) == 1 and is_plain(fronts[0]):
        return ()
    return fronts


def is_plain(front: TrafficFront) -> bool:
    """Whatever it is called."""
    plain = plain_front(front.port)
    return replace(front, name=plain.name) == plain
