"""A journal that repave 0.1 wrote opens, and the agent keeps what that version's agent had accepted.
tests/controller/stores/version_0_1/README.md says how it was made."""

from pathlib import Path

from repave_agent.core.region import Entries
from repave_agent.runtime.journal import Journal
from repave_agent.runtime.journal_file import FileDisk
from repave_protos.protocol.values import Epoch, Split, contradictions

STORED = Path(__file__).parent / "version_0_1" / "journal.json"


def loaded() -> Entries:
    return Journal(FileDisk(STORED)).load()


def test_the_accepted_desired_states_are_as_they_were() -> None:
    cart, shop = loaded().desired
    assert (cart.application, cart.epoch, cart.frontend_port) == ("cart", Epoch(1, 1, 5), 8001)
    assert (shop.application, shop.epoch, shop.frontend_port) == ("shop", Epoch(1, 1, 8), 8000)
    assert shop.split == Split("cookie", "user", "header", "X-Tester", "yes")
    assert contradictions(cart) == contradictions(shop) == []
    assert [(each.name, each.count, each.weight_bp, each.is_proven) for each in shop.groups] == [
        ("shop-v001", 3, 9_000, True),
        ("shop-v003", 2, 1_000, False),
    ]


def test_what_its_hosts_are_made_of_is_as_it_was() -> None:
    group = loaded().desired[1].groups[0]
    made = group.template
    assert group.digest == "a" * 64
    assert made.run == ("serve", "--port", "{port}")
    assert made.environment == (("COLOUR", "blue"), ("TEXT", "hä\n"))
    assert (made.probe.kind, made.probe.port, made.probe.command) == ("command", 8080, ("true",))
    assert (made.min_healthy_seconds, made.launch_deadline_seconds, made.drain_seconds) == (
        0.05,
        45.0,
        12.0,
    )
    assert (group.max_age_seconds, group.drift) == (86_400.0, "taint")


def test_verified_hosts_and_facts_are_kept() -> None:
    entries = loaded()
    assert len(entries.verified) == 10
    assert {name: fact.next_ordinal for name, fact in entries.groups.items()} == {
        "cart-v001": 4,
        "cart-v002": 3,
        "shop-v001": 4,
        "shop-v003": 3,
    }


def test_it_is_saved_again_and_read_again(tmp_path: Path) -> None:
    disk = FileDisk(tmp_path / "journal.json")
    Journal(disk).save(loaded(), durable=True)
    assert Journal(disk).load() == loaded()
