"""Fronts as messages, and back. What they mean, and whether they go together, is fronts.py's."""

from collections.abc import Collection
from typing import Final, TypeVar

from repave_protos.protocol import bounds
from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol.bounds import WireError
from repave_protos.protocol.certificate_places import NAMES_MAX, CertificateReference, certificate_fault
from repave_protos.protocol.fronts import (
    FRONT_NAME,
    FRONTS_MAX,
    HOST_CONNECTIONS_MAX,
    RETRIES_MAX,
    Balance,
    FrontProtocol,
    Sticky,
    TrafficFront,
    host_fault,
    path_fault,
)

PLACE_LENGTH_MAX = 1024
Word = TypeVar("Word")

_PROTOCOLS: Final[dict[str, FrontProtocol]] = {
    "http": "http",
    "https": "https",
    "grpc": "grpc",
    "tcp": "tcp",
}
_BALANCES: Final[dict[str, Balance]] = {
    "roundrobin": "roundrobin",
    "leastconn": "leastconn",
    "random": "random",
}
_STICKY: Final[dict[str, Sticky]] = {"": "", "cookie": "cookie", "address": "address"}


def front_message(front: TrafficFront) -> pb.TrafficFront:
    kept = front.certificate
    return pb.TrafficFront(
        name=front.name,
        port=front.port,
        protocol=front.protocol,
        to=front.to,
        certificate=_certificate_message(kept) if kept is not None else None,
        host=front.host,
        path=front.path,
        redirect_from=front.redirect_from,
        has_http2=front.has_http2,
        balance=front.balance,
        host_connections=front.host_connections,
        queue_seconds=front.queue_seconds,
        retries=front.retries,
        accepts_proxy=front.accepts_proxy,
        sends_proxy=front.sends_proxy,
        sticky=front.sticky,
    )


def _certificate_message(kept: CertificateReference) -> pb.Certificate:
    return pb.Certificate(source=kept.source, where=kept.where, names=kept.names)


def fronts_of(messages: Collection[pb.TrafficFront], field: str) -> tuple[TrafficFront, ...]:
    bounds.few(messages, FRONTS_MAX, field)
    return tuple(map(_front, messages))


def _front(message: pb.TrafficFront) -> TrafficFront:
    if FRONT_NAME.fullmatch(message.name) is None:
        raise WireError(f"TrafficFront.name: {message.name[:40]!a} is none")
    for field, text, fault in (("host", message.host, host_fault), ("path", message.path, path_fault)):
        if text and fault(text):
            raise WireError(f"TrafficFront.{field}: {text[:40]!a}: {fault(text)}")
    return TrafficFront(
        name=message.name,
        port=bounds.between(1, message.port, 65_535, "TrafficFront.port"),
        protocol=_known(_PROTOCOLS, message.protocol, "TrafficFront.protocol"),
        to=bounds.between(0, message.to, 65_535, "TrafficFront.to"),
        certificate=_certificate(message.certificate) if message.HasField("certificate") else None,
        host=message.host,
        path=message.path,
        redirect_from=bounds.between(0, message.redirect_from, 65_535, "TrafficFront.redirect_from"),
        has_http2=message.has_http2,
        balance=_known(_BALANCES, message.balance, "TrafficFront.balance"),
        host_connections=bounds.between(
            0, message.host_connections, HOST_CONNECTIONS_MAX, "TrafficFront.host_connections"
        ),
        queue_seconds=bounds.positive_seconds(message.queue_seconds, "TrafficFront.queue_seconds"),
        retries=bounds.between(0, message.retries, RETRIES_MAX, "TrafficFront.retries"),
        accepts_proxy=message.accepts_proxy,
        sends_proxy=message.sends_proxy,
        sticky=_known(_STICKY, message.sticky, "TrafficFront.sticky"),
    )


def _certificate(message: pb.Certificate) -> CertificateReference:
    bounds.few(message.names, NAMES_MAX, "Certificate.names")
    where = bounds.line(message.where, "Certificate.where", PLACE_LENGTH_MAX)
    reference = CertificateReference(message.source, where, tuple(message.names))
    if fault := certificate_fault(reference):
        raise WireError(f"Certificate: {fault}")
    return reference


def _known(words: dict[str, Word], word: str, field: str) -> Word:
    found = words.get(word)
    if found is None:
        raise WireError(f"{field}: {word[:40]!a} is nothing that this version knows")
    return found
