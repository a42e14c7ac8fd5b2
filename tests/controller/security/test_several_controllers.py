"""Accounts, agents, packages and the audit log of two controllers that share a store: what one saves counts
at the other, and what both want to write at once is written once. `heard` is what the mirror brings."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Record, Transaction
from repave_controller.security.accounts import Accounts, NotRecognised
from repave_controller.security.audit import Entry, audit_of
from repave_controller.security.authority import Authority, OwnAuthority
from repave_controller.security.enrolment import Enrolment
from repave_controller.security.people import Person
from repave_controller.security.principals import Grant, Role
from repave_controller.security.provenance import Provenance
from repave_controller.security.records import load_accounts
from repave_controller.security.roles import grant
from repave_protos.daemon.chain import first_hash, link
from repave_protos.protocol.certificates import CertificateError, new_key, request_for
from repave_protos.protocol.values import Digest
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore

DAY = 86_400.0
DIGEST = Digest("d" * 64)


class Peer:
    """One controller's accounts. `now` is both's."""

    now = Instant(1000.0)

    def __init__(self, shelf: SharedShelf, name: str) -> None:
        self.store = SharedMemoryStore(shelf, name)
        self.heard_until = 0

    async def open(self) -> None:
        await self.store.open()
        self.accounts = Accounts(self.store, await load_accounts(self.store), lambda: self.now)

    async def heard(self) -> list[Record]:
        changes = await self.store.changes(self.heard_until)
        self.heard_until = changes.until
        self.accounts.take(changes.records)
        return list(changes.records)


@pytest.fixture
async def peers() -> tuple[Peer, Peer]:
    shelf = SharedShelf()
    ann, ben = Peer(shelf, "ann"), Peer(shelf, "ben")
    await ann.open()
    await ann.accounts.make_admin()
    await ben.open()
    return ann, ben


async def test_a_token_made_at_one_controller_is_known_at_the_other_until_it_is_revoked(
    peers: tuple[Peer, Peer],
) -> None:
    ann, ben = peers
    await ann.accounts.change_roles(lambda roles: grant(roles, "eve", Grant(Role.DEPLOYER)))
    token, text = await ann.accounts.create("eve", DAY, "admin")
    await ben.heard()
    principal = ben.accounts.recognise(text)
    assert [each.role for each in principal.grants] == [Role.DEPLOYER]
    stream = asyncio.create_task(ben.accounts.until(principal, lambda each: each.is_known))
    await asyncio.sleep(0)
    await ann.accounts.revoke(token.id, "admin")
    await ben.heard()
    with pytest.raises(NotRecognised):
        ben.accounts.recognise(text)
    await stream  # what it opened ends, too


async def test_the_use_of_a_token_does_not_undo_that_another_controller_revoked_it(
    peers: tuple[Peer, Peer],
) -> None:
    ann, ben = peers
    token, text = await ann.accounts.create("eve", DAY, "admin")
    await ben.heard()
    await ann.accounts.revoke(token.id, "admin")
    await ben.accounts.note_use(ben.accounts.recognise(text), "10.0.0.1")
    kept = await load_accounts(ben.store)
    assert [each.revoked_by for each in kept.tokens if each.id == token.id] == ["admin"]
    await ben.heard()
    with pytest.raises(NotRecognised):
        ben.accounts.recognise(text)


async def test_a_token_is_revoked_though_another_controller_has_noted_its_use(
    peers: tuple[Peer, Peer],
) -> None:
    ann, ben = peers
    token, text = await ann.accounts.create("eve", DAY, "admin")
    await ben.heard()
    await ben.accounts.note_use(ben.accounts.recognise(text), "10.0.0.1")
    await ann.accounts.revoke(token.id, "admin")
    (kept,) = [each for each in (await load_accounts(ben.store)).tokens if each.id == token.id]
    assert (kept.revoked_by, kept.used_from) == ("admin", "10.0.0.1")


async def test_roles_that_two_controllers_give_at_once_are_both_given(peers: tuple[Peer, Peer]) -> None:
    ann, ben = peers
    await ben.heard()
    await ann.accounts.change_roles(lambda roles: grant(roles, "eve", Grant(Role.DEPLOYER)))
    await ben.accounts.change_roles(lambda roles: grant(roles, "max", Grant(Role.VIEWER)))
    await ann.heard()
    for each in (ann, ben):
        assert each.accounts.roles.grants_of("eve")
        assert each.accounts.roles.grants_of("max")


async def test_what_a_job_shows_is_good_for_one_log_in_at_all_controllers_together(
    peers: tuple[Peer, Peer],
) -> None:
    ann, ben = peers
    trust = await ann.accounts.trust("ci", "https://issuer", (("sub", "x"),), "repave", 900.0, "admin")
    await ben.heard()
    await ann.accounts.log_in_job(trust, "p" * 64, Instant(2000.0))
    with pytest.raises(Refused) as refused:
        await ben.accounts.log_in_job(trust, "p" * 64, Instant(2000.0))
    assert refused.value.reason.kind is Refusal.SPENT


async def test_trusts_and_people_come_and_go_everywhere(peers: tuple[Peer, Peer]) -> None:
    ann, ben = peers
    trust = await ann.accounts.trust("ci", "https://issuer", (("sub", "x"),), "repave", 900.0, "admin")
    person = Person("eve", "https://issuer", "1", (), is_admin=True, at=Instant(0.0))
    await ann.accounts.log_in(person, DAY, "browser")
    await ben.heard()
    assert (ben.accounts.trusts, ben.accounts.people) == ([trust], [person])
    await ben.accounts.distrust(trust.id)
    await ben.accounts.end_person("eve", "admin")
    await ann.heard()
    assert (ann.accounts.trusts, ann.accounts.people) == ([], [])


async def test_rows_of_all_controllers_make_one_chain(peers: tuple[Peer, Peer]) -> None:
    logs = [await audit_of(each.store, "store", lambda: Instant(0.0)) for each in peers]
    rows = [Entry(Instant(0.0), f"caller-{n}", "token", "", "", "POST x") for n in range(10)]
    numbers = await asyncio.gather(*(logs[n % 2].add(row) for n, row in enumerate(rows)))
    assert sorted(numbers) == list(range(1, 11))
    former = first_hash("store")
    for n, row in enumerate(await peers[0].store.audit(), 1):
        assert row == link(n, row.text, former)
        former = row.hash


async def test_holders_of_a_package_that_two_controllers_add_at_once_are_both_kept(
    peers: tuple[Peer, Peer],
) -> None:
    one, two = (Provenance(each.store) for each in peers)
    await one.of(DIGEST)
    await two.of(DIGEST)
    await one.add_holder(DIGEST, "eve")
    await two.add_holder(DIGEST, "max")
    one.take([each for each in peers[0].store.shelf.records.values() if each.kind == "package"])
    for each in (one, two):
        assert (await each.of(DIGEST)).holders == ("eve", "max")


class Enrolling:
    """The agents of one controller, with the authority of both."""

    def __init__(self, peer: Peer, authority: Authority) -> None:
        self.withdrawn = 0
        self.enrolment = Enrolment(authority, peer.store, lambda: peer.now, lambda _: None, self._withdraw)
        self.peer = peer

    def _withdraw(self) -> None:
        self.withdrawn += 1

    def heard(self) -> None:
        kinds = ("join-token", "agent")
        self.enrolment.take([each for each in self.peer.store.shelf.records.values() if each.kind in kinds])


@pytest.fixture
async def enrolling(peers: tuple[Peer, Peer], tmp_path: Path) -> tuple[Enrolling, Enrolling]:
    source = OwnAuthority(tmp_path, "store", Peer.now)
    made = [Enrolling(each, Authority(source, "store", (), lambda: Peer.now, tmp_path)) for each in peers]
    for each in made:
        await each.enrolment.load()
    return made[0], made[1]


async def test_a_join_token_is_good_for_one_agent_whichever_controllers_are_asked(
    enrolling: tuple[Enrolling, Enrolling],
) -> None:
    ann, ben = enrolling
    word, _ = await ann.enrolment.invite("paris", "admin")
    ben.heard()
    await ann.enrolment.join(word.secret, request_for(new_key()), "10.0.0.1")
    with pytest.raises(Refused) as refused:
        await ben.enrolment.join(word.secret, request_for(new_key()), "10.0.0.2")
    assert refused.value.reason.kind is Refusal.JOIN_TOKEN_USED


async def test_an_agent_that_one_controller_revokes_is_one_that_the_other_does_not_renew(
    enrolling: tuple[Enrolling, Enrolling],
) -> None:
    ann, ben = enrolling
    word, _ = await ann.enrolment.invite("paris", "admin")
    _, identity = await ann.enrolment.join(word.secret, request_for(new_key()), "10.0.0.1")
    ben.heard()
    await ann.enrolment.revoke("paris", "", "admin")
    with pytest.raises(CertificateError, match="was revoked by admin"):
        await ben.enrolment.renew(identity, request_for(new_key()))
    before = ben.withdrawn
    ben.heard()
    assert ben.withdrawn == before + 1, "open streams are looked at again"
    assert "revoked" in ben.enrolment.objection(identity)


def answered_late(peer: Peer, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """The next commit is saved at once; before its answer is there, `meanwhile` happens."""
    commit = peer.store.commit

    async def late(transaction: Transaction) -> tuple[Event, ...]:
        peer.store.commit = commit  # type: ignore[method-assign]
        saved = await commit(transaction)
        await meanwhile()
        return saved

    peer.store.commit = late  # type: ignore[method-assign]


async def test_an_agent_that_is_revoked_before_its_renewal_is_answered_stays_revoked_here(
    peers: tuple[Peer, Peer], enrolling: tuple[Enrolling, Enrolling]
) -> None:
    ann, ben = enrolling
    word, _ = await ann.enrolment.invite("paris", "admin")
    _, identity = await ann.enrolment.join(word.secret, request_for(new_key()), "10.0.0.1")

    async def revoked() -> None:
        ben.heard()
        await ben.enrolment.revoke("paris", "", "admin")
        ann.heard()

    answered_late(peers[0], revoked)
    await ann.enrolment.renew(identity, request_for(new_key()))
    assert "revoked" in ann.enrolment.objection(identity)
    with pytest.raises(CertificateError, match="was revoked by admin"):
        await ann.enrolment.renew(identity, request_for(new_key()))


async def test_a_trust_and_a_person_end_though_the_mirror_tells_of_it_before_the_answer(
    peers: tuple[Peer, Peer],
) -> None:
    ann, _ = peers

    async def heard() -> None:
        await ann.heard()

    trust = await ann.accounts.trust("ci", "https://issuer", (("sub", "x"),), "repave", 900.0, "admin")
    answered_late(ann, heard)
    assert await ann.accounts.distrust(trust.id) == trust
    await ann.accounts.change_roles(lambda roles: grant(roles, "eve", Grant(Role.VIEWER)))
    person = Person("eve", "https://issuer", "1")
    await ann.accounts.log_in(person, DAY, "browser")
    answered_late(ann, heard)
    assert await ann.accounts.end_person("eve", "admin") == person
    assert not ann.accounts.trusts
    assert not ann.accounts.people
