"""Certificates from an ACME server (RFC 8555), by certbot's library.

HTTP-01 needs nothing here: the region's balancer answers it at any time (`balancers/haproxy/challenges.py`).
For DNS-01 a record is put beside the name, and taken away when the server has seen it. The key of a
certificate is made here for each, and is sent nowhere.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from repave_agent.certificates.account import account_key
from repave_agent.certificates.options import AcmeOptions
from repave_agent.certificates.pem import Pem, key_pem, new_key, read_pem
from repave_agent.core.certificates import NO_NAME, CertificateError, Renewal
from repave_agent.core.ports import ChangedMeanwhileError, Clock, ProviderError, Records
from repave_protos import __version__
from repave_protos.daemon import files

try:
    import requests
    from acme import challenges, client, crypto_util, errors, messages
    from josepy.errors import Error as JoseError
    from josepy.jwa import ES256
    from josepy.jwk import JWKEC
    from josepy.util import ComparableECKey
except ImportError as missing:  # pragma: no cover  # an agent without the extra
    raise CertificateError(
        "this agent can't ask an ACME server: its extra is not installed. Do: pip install 'repave[acme]'"
    ) from missing

CALL_SECONDS = 20
CHANGES_MAX = 5
ASK_AGAIN_SECONDS = 6 * 3600.0
"""When a certificate is to be renewed, of a server that did not answer that."""
UNREADABLE = (ValueError, OSError, KeyError, TypeError)
"""What the library lets through of an answer that is not as it should be, such as null."""
ORDER_SECONDS = 120.0
"""To decide on its challenges, and then to make the certificate."""
PIECE_SECONDS = 2.0
"""And one for each name: so long a thread waits at a time."""


class AcmeServer:
    """The one of the settings. `account_file`: where the key of the account is. `records`: for DNS-01."""

    def __init__(
        self, options: AcmeOptions, account_file: Path, records: Records | None, clock: Clock
    ) -> None:
        self._options, self._account_file = options, account_file
        self._records, self._clock = records, clock

    async def order(self, names: Sequence[str], challenge: str) -> Pem:
        """A new certificate of these names, with a new key. Raises CertificateError."""
        self._admit(names)
        try:
            async with AsyncExitStack() as until_seen:
                return await self._order(names, challenge, until_seen)
        except (errors.ValidationError, errors.IssuanceError, messages.Error, errors.Error) as error:
            raise CertificateError(f"the ACME server refuses it: {_in_words(error)}") from None
        except (requests.RequestException, JoseError, ValueError, OSError) as error:
            why = f"the ACME server {self._options.server} gives no answer that can be used: {_short(error)}"
            raise CertificateError(why, is_awaited=True) from None
        except ProviderError as error:
            raise CertificateError(f"the record for dns-01 can't be set: {error}") from None

    def _admit(self, names: Sequence[str]) -> None:
        if not names:
            raise CertificateError(NO_NAME)
        allowed = self._options.names
        for name in names:
            if allowed and not any(fnmatchcase(name, each) for each in allowed):
                raise CertificateError(
                    f"this agent asks for no certificate of {name}: certificates.acme.names has "
                    f"{', '.join(allowed)}"
                )

    async def _order(self, names: Sequence[str], challenge: str, until_seen: AsyncExitStack) -> Pem:
        key = key_pem(new_key())
        account = JWKEC(key=ComparableECKey(account_key(self._account_file, may_make=False)))
        asked = await asyncio.to_thread(self._connect, account)
        order = await asyncio.to_thread(asked.new_order, crypto_util.make_csr(key, list(names)))
        for authorization in order.authorizations:
            if authorization.body.status != messages.STATUS_PENDING:
                continue
            chosen = _chosen(authorization, challenge)
            if challenge == "dns-01":
                await self._show(chosen, authorization.body.identifier.value, account, until_seen)
            await asyncio.to_thread(asked.answer_challenge, chosen, chosen.response(account))
        decided = await self._in_pieces(asked.poll_authorizations, order)
        try:
            await asyncio.to_thread(asked.begin_finalization, decided)
        except messages.Error as error:
            if error.code != "orderNotReady":  # it is told again once it is
                raise
        finished = await self._in_pieces(asked.poll_finalization, decided)
        return read_pem(finished.fullchain_pem.encode() + key)

    async def _in_pieces(
        self,
        poll: Callable[[messages.OrderResource, datetime], messages.OrderResource],
        order: messages.OrderResource,
    ) -> messages.OrderResource:
        """What the library waits for in a thread, which nobody can end: an agent that stops waits for it."""
        until = self._clock.wall() + ORDER_SECONDS
        while True:
            piece = datetime.fromtimestamp(
                self._clock.wall() + PIECE_SECONDS + len(order.authorizations), UTC
            ).astimezone()
            try:
                # Naive local time, as the library has it.
                return await asyncio.to_thread(poll, order, piece.replace(tzinfo=None))
            except errors.TimeoutError:
                if self._clock.wall() >= until:
                    raise

    async def renewal(self, shown: Pem) -> Renewal:
        """As RFC 9773 has it: a moment of the window that the server suggests."""
        try:
            at, again = await asyncio.to_thread(self._renewal, shown.text)
        except (errors.Error, requests.RequestException, JoseError, *UNREADABLE) as error:
            later = error.retry_after.timestamp() if isinstance(error, errors.ARIError) else 0.0
            return Renewal(ask_again_at=later or self._clock.wall() + ASK_AGAIN_SECONDS)
        return Renewal(at.timestamp() if at is not None else None, again.timestamp())

    def _renewal(self, text: bytes) -> tuple[datetime | None, datetime]:
        network = self._network(None)
        directory = client.ClientV2.get_directory(self._options.server, network)
        return client.ClientV2(directory, network).renewal_time(text)

    def _network(self, account: JWKEC | None) -> client.ClientNetwork:
        network = client.ClientNetwork(
            account, alg=ES256, user_agent=f"repave-agent/{__version__}", timeout=CALL_SECONDS
        )
        if self._options.authority is not None:
            network.verify_ssl = str(self._options.authority)  # type: ignore[assignment]  # requests takes both
        return network

    def _connect(self, account: JWKEC) -> client.ClientV2:
        """With an account: the one that is there, if there is one."""
        network = self._network(account)
        directory = client.ClientV2.get_directory(self._options.server, network)
        asked = client.ClientV2(directory, network)
        mails = ",".join(self._options.contacts) or None
        wanted = messages.NewRegistration.from_data(
            email=mails,
            terms_of_service_agreed=True,
            external_account_binding=self._binding(account, directory),
        )
        try:
            asked.new_account(wanted)
        except errors.ConflictError as known:
            network.account = messages.RegistrationResource(body=wanted, uri=known.location)
        return asked

    def _binding(self, account: JWKEC, directory: messages.Directory) -> Any:
        """Of a server that has to know the account first."""
        file = self._options.eab_key_file
        if file is None:
            return None
        try:
            secret = files.read_file(file).decode().strip()
        except (OSError, ValueError):
            raise CertificateError(f"certificates.acme.eab_key_file: {file} can't be read") from None
        return messages.ExternalAccountBinding.from_data(
            account.public_key(), self._options.eab_key_id, secret, directory
        )

    async def _show(
        self, chosen: messages.ChallengeBody, name: str, account: JWKEC, until_seen: AsyncExitStack
    ) -> None:
        assert self._records is not None, "this kind is not among what the agent says it can"
        where, text = chosen.validation_domain_name(name), chosen.validation(account)
        until_seen.push_async_callback(_set_text, self._records, where, text, is_there=False)
        await _set_text(self._records, where, text, is_there=True)
        await self._clock.sleep(self._options.dns_seconds)


async def _set_text(records: Records, name: str, text: str, *, is_there: bool) -> None:
    """Others may change the same name at the same moment: one with * and one without share it."""
    for attempt in range(1, CHANGES_MAX + 1):
        try:
            await records.set_text(name, text, is_there=is_there)
        except ChangedMeanwhileError:
            if attempt == CHANGES_MAX:
                raise
        else:
            return


def _chosen(authorization: messages.AuthorizationResource, challenge: str) -> messages.ChallengeBody:
    kind = challenges.DNS01 if challenge == "dns-01" else challenges.HTTP01
    for each in authorization.body.challenges:
        if isinstance(each.chall, kind):
            return each
    name = authorization.body.identifier.value
    raise CertificateError(f"the ACME server does not take {challenge} for {name}: choose the other one")


def _in_words(error: Exception) -> str:
    if isinstance(error, errors.ValidationError):
        found = [
            f"{each.body.identifier.value}: {challenge.error.detail or challenge.error.typ}"
            for each in error.failed_authzrs
            for challenge in each.body.challenges
            if challenge.error is not None
        ]
        return "; ".join(found)[:500]
    if isinstance(error, errors.TimeoutError):
        return f"it has not decided within {ORDER_SECONDS:g} s"
    if isinstance(error, messages.Error):
        return str(error.detail or error.typ)[:500]
    return _short(error)


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:300]
