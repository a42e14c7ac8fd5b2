"""Tokens and roles as the store keeps them: records, with JSON as their text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Record, Store, StoreError
from repave_controller.security.people import Person
from repave_controller.security.roles import Roles
from repave_controller.security.tokens import Token
from repave_controller.security.trusts import Trust

TOKEN = "token"  # noqa: S105  # a kind
ROLES = "roles"
TRUST = "trust"
PERSON = "person"
SPENT = "spent"
"""A job's token that was used, by its hash; its state is when it expires."""
_TOKEN = TypeAdapter(Token)
_ROLES = TypeAdapter(Roles)
_TRUST = TypeAdapter(Trust)
_PERSON = TypeAdapter(Person)
_INSTANT = TypeAdapter(Instant)
_OF_KIND: Mapping[str, TypeAdapter[Any]] = {
    TOKEN: _TOKEN,
    ROLES: _ROLES,
    TRUST: _TRUST,
    PERSON: _PERSON,
    SPENT: _INSTANT,
}


@dataclass(frozen=True, slots=True)
class KnownAccounts:
    """All that a starting controller reads."""

    tokens: tuple[Token, ...]
    roles: Roles
    trusts: tuple[Trust, ...] = ()
    people: tuple[Person, ...] = ()
    spent: Mapping[str, Instant] = field(default_factory=dict)
    records: tuple[Record, ...] = ()  # as the store has them


KINDS = (TOKEN, ROLES, TRUST, PERSON, SPENT)


async def load_accounts(store: Store) -> KnownAccounts:
    """Raises StoreError."""
    tokens, roles = await store.records(TOKEN), await store.records(ROLES)
    trusts, people, spent = (
        await store.records(TRUST),
        await store.records(PERSON),
        await store.records(SPENT),
    )
    try:
        return KnownAccounts(
            tuple(_TOKEN.validate_json(each.state or "") for each in tokens),
            _ROLES.validate_json(roles[0].state or "") if roles else Roles(),
            tuple(_TRUST.validate_json(each.state or "") for each in trusts),
            tuple(_PERSON.validate_json(each.state or "") for each in people),
            {each.name: _INSTANT.validate_json(each.state or "") for each in spent},
            (*tokens, *roles, *trusts, *people, *spent),
        )
    except ValidationError as error:
        raise StoreError(
            "the store holds accounts that this repave cannot read: they were written by another version, or "
            "damaged. Run that version, or restore the database from a backup."
        ) from error


def read_record(record: Record) -> Token | Roles | Trust | Person | Instant | None:
    """What one says; None: it is gone. Raises ValueError."""
    if record.state is None:
        return None
    found: Token | Roles | Trust | Person | Instant = _OF_KIND[record.kind].validate_json(record.state)
    return found


def record_of_token(token: Token) -> Record:
    return Record(TOKEN, token.id, _TOKEN.dump_json(token).decode())


def record_of_trust(trust: Trust) -> Record:
    return Record(TRUST, trust.id, _TRUST.dump_json(trust).decode())


def record_of_person(person: Person) -> Record:
    return Record(PERSON, person.name, _PERSON.dump_json(person).decode())


def record_of_spent(name: str, expires_at: Instant) -> Record:
    return Record(SPENT, name, _INSTANT.dump_json(expires_at).decode())


def record_of_roles(roles: Roles) -> Record:
    return Record(ROLES, "", _ROLES.dump_json(roles).decode())
