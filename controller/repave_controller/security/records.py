"""Tokens and roles as the store keeps them: records, with JSON as their text."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from repave_controller.core.ports import Record, Store, StoreError
from repave_controller.security.roles import Roles
from repave_controller.security.tokens import Token
from repave_controller.security.trusts import Trust

TOKEN = "token"
ROLES = "roles"
TRUST = "trust"
_TOKEN = TypeAdapter(Token)
_ROLES = TypeAdapter(Roles)
_TRUST = TypeAdapter(Trust)


@dataclass(frozen=True, slots=True)
class KnownAccounts:
    """All that a starting controller reads."""

    tokens: tuple[Token, ...]
    roles: Roles
    trusts: tuple[Trust, ...] = ()


async def load_accounts(store: Store) -> KnownAccounts:
    """Raises StoreError."""
    tokens, roles = await store.records(TOKEN), await store.records(ROLES)
    trusts = await store.records(TRUST)
    try:
        return KnownAccounts(
            tuple(_TOKEN.validate_json(each.state or "") for each in tokens),
            _ROLES.validate_json(roles[0].state or "") if roles else Roles(),
            tuple(_TRUST.validate_json(each.state or "") for each in trusts),
        )
    except ValidationError as error:
        raise StoreError(
            "the store holds accounts that this repave cannot read: they were written by another version, or "
            "damaged. Run that version, or restore the database from a backup."
        ) from error


def record_of_token(token: Token) -> Record:
    return Record(TOKEN, token.id, _TOKEN.dump_json(token).decode())


def record_of_trust(trust: Trust) -> Record:
    return Record(TRUST, trust.id, _TRUST.dump_json(trust).decode())


def record_of_roles(roles: Roles) -> Record:
    return Record(ROLES, "", _ROLES.dump_json(roles).decode())
