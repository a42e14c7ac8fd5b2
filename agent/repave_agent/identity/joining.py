"""Asks the controller for certificates: the first one with a join token, each next one with the last.

Blocking: it runs in a thread, or in a command of its own.
"""

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from repave_agent.clients.controller import Connect, over_tls, showing, trusting, unchecked
from repave_agent.identity.identity import Identity, IdentityError, check
from repave_protos.protocol.certificates import (
    PEM_BYTES_MAX,
    CertificateError,
    JoinWord,
    certificates_in,
    key_pem,
    new_key,
    pem_of,
    pin_of,
    read_join_word,
    request_for,
)
from repave_protos.protocol.channel import join as address_of

TIMEOUT_SECONDS = 20.0
ANSWER_BYTES_MAX = 4 * PEM_BYTES_MAX


class RefusedError(IdentityError):
    """The controller says no."""


class UnreachableError(IdentityError):
    """It can't be reached; another one may do."""


Answered = TypeVar("Answered")


def join(urls: str, token: str) -> Identity:
    """The identity of a machine that was given a join token, with a key made here. `urls` has commas between
    the controllers, which share a store: the first one that can be reached is asked. Raises IdentityError."""
    addresses = tuple(dict.fromkeys(map(_https, urls.split(","))))
    try:
        word = read_join_word(token)
    except CertificateError as error:
        raise IdentityError(str(error)) from error
    return _in_turn(addresses, lambda address: _join_at(address, addresses, word))


def _join_at(address: str, addresses: tuple[str, ...], word: JoinWord) -> Identity:
    """Raises IdentityError."""
    authorities = _pinned(address, word.pin)
    key = new_key()
    body = {"secret": word.secret, "request": request_for(key)}
    answer = _ask(over_tls(trusting(authorities)), f"{address}/v1/join", body)
    host = urllib.parse.urlsplit(address).hostname or ""
    others = tuple(each for each in addresses if each != address)
    return _identity(address, address_of(host, _port(answer)), key_pem(key), answer, others)


def renew(identity: Identity, directory: Path) -> Identity:
    """The same agent with a fresh key and its next certificate. Raises IdentityError."""
    key = new_key()
    connect, body = over_tls(showing(identity.shown, directory)), {"request": request_for(key)}
    answer = _in_turn(identity.urls, lambda url: _ask(connect, f"{url}/v1/renew", body))
    renewed = _identity(identity.url, identity.grpc, key_pem(key), answer, identity.others)
    if renewed.says.region != identity.says.region:
        raise IdentityError(f"the controller gave the certificate of another region, {renewed.says.region}")
    return renewed


def _in_turn(addresses: Sequence[str], ask: Callable[[str], Answered]) -> Answered:
    """What the first controller says that can be reached. Raises IdentityError: as one has refused, or as
    none could be reached."""
    failures: list[str] = []
    for address in addresses:
        try:
            return ask(address)
        except UnreachableError as error:
            failures.append(str(error))
    raise UnreachableError("; ".join(failures))


def _https(url: str) -> str:
    """Raises IdentityError."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_whole = parts.scheme == "https" and bool(parts.hostname) and parts.port is not None
    except ValueError:
        is_whole = False
    if not is_whole or parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise IdentityError(f"{url} is no address to join at; write https://HOST:PORT")
    return f"https://{parts.netloc}"


def _pinned(address: str, pin: str) -> str:
    """The authority that the token names, of those that the other end says it has. Only what has the pin is
    believed: whoever is in between can't make another key with it."""
    answer = _ask(over_tls(unchecked()), f"{address}/v1/authorities", None)
    try:
        found = [each for each in certificates_in(str(answer.get("authorities", ""))) if pin_of(each) == pin]
    except CertificateError:
        found = []
    if not found:
        raise IdentityError(
            f"{address} is not the controller that made this token: none of its authorities has the token's "
            "pin; check the address, and that no machine in between answers for it. Nothing secret was sent"
        )
    return pem_of(found)


def _identity(url: str, grpc: str, key: str, answer: dict[str, object], others: tuple[str, ...]) -> Identity:
    certificate, authorities = str(answer.get("certificate")), str(answer.get("authorities"))
    identity = Identity(url, grpc, key, certificate, authorities, others)
    check(identity)
    return identity


def _port(answer: dict[str, object]) -> int:
    port = answer.get("grpc_port")
    if not isinstance(port, int) or not 0 < port < 65_536:
        raise IdentityError("the controller did not say where agents dial in: is it of another version?")
    return port


def _ask(connect: Connect, url: str, body: object) -> dict[str, object]:
    """The answer's fields. Raises IdentityError."""
    connection = connect(url, TIMEOUT_SECONDS)
    content = json.dumps(body) if body is not None else None
    try:
        path = urllib.parse.urlsplit(url).path
        method = "GET" if content is None else "POST"
        connection.request(method, path, content, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read(ANSWER_BYTES_MAX)
    except ssl.SSLCertVerificationError as error:
        raise IdentityError(
            f"{url}: its certificate is not of the authority that this agent trusts: {error.verify_message}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"can't reach the controller at {url}: {error}") from error
    finally:
        connection.close()
    return _read(url, response.status, text)


def _read(url: str, status: int, text: bytes) -> dict[str, object]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise IdentityError(f"{url} answered {status}, and not as a repave controller does")
    if status != 200:
        raise RefusedError(str(answer.get("detail", status))[:1000])
    return answer
