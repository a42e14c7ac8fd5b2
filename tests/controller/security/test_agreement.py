"""Controllers that share a store have one certificate authority, or one of them does not start."""

from pathlib import Path

import pytest

from repave_controller.security.agreement import agree
from repave_controller.security.authority import Authority, AuthorityError, OwnAuthority
from repave_simulation.tiers.store import MemoryStore

BOTH = {"a", "b"}


def an_authority(directory: Path) -> Authority:
    return Authority(OwnAuthority(directory, "shop", 0.0), "shop", (), lambda: 0.0, directory)


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await made.open()
    return made


async def test_of_one_authority_all_may_be(store: MemoryStore, tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        await agree(store, name, an_authority(tmp_path), BOTH)
    assert [each.name for each in await store.records("authority")] == ["a", "b"]
    for name in ("a", "b"):
        await agree(MemoryStore(store.shelf), name, an_authority(tmp_path), BOTH)


async def test_one_with_another_authority_is_refused_while_the_other_is_there(
    store: MemoryStore, tmp_path: Path
) -> None:
    await agree(store, "a", an_authority(tmp_path / "a"), {"a"})
    other = an_authority(tmp_path / "b")
    with pytest.raises(AuthorityError, match=r"than that of a .* Give all the same tls\.ca and tls\.ca_key"):
        await agree(store, "b", other, BOTH)
    assert [each.name for each in await store.records("authority")] == ["a"]
    await agree(store, "b", other, {"b"})


async def test_while_an_authority_is_rotated_those_that_share_one_agree(
    store: MemoryStore, tmp_path: Path
) -> None:
    source = OwnAuthority(tmp_path, "shop", 0.0)
    rotated = Authority(source, "shop", (), lambda: 0.0, tmp_path)
    await agree(store, "a", rotated, {"a"})
    source.rotate(0.0)
    await agree(store, "b", rotated, BOTH)


async def test_with_and_without_tls_do_not_go_together(store: MemoryStore, tmp_path: Path) -> None:
    await agree(store, "a", None, {"a"})
    await agree(store, "b", None, BOTH)
    with pytest.raises(AuthorityError, match=r"tls\.enabled: this controller does TLS and a does not"):
        await agree(store, "c", an_authority(tmp_path), {"a", "b", "c"})
    await agree(store, "a", an_authority(tmp_path), {"a"})
    with pytest.raises(AuthorityError, match=r"tls\.enabled: a does TLS and this controller does not"):
        await agree(store, "b", None, BOTH)
