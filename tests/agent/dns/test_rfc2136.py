"""Keys of name servers, and a real BIND that refuses what they may not do."""

from pathlib import Path

import pytest

from repave_agent.core.ports import RefusedError, TransientError
from repave_agent.core.records import Change
from repave_agent.dns.options import Rfc2136Options
from repave_agent.dns.rfc2136 import Rfc2136Records, read_key
from tests.support.bind import ZONE, a_key, bind, needs_bind

WEB = f"web.{ZONE}"


def records(server: str, key_file: Path, region: str = "paris", zone: str = ZONE) -> Rfc2136Records:
    options = Rfc2136Options(server=server, key_file=key_file, timeout_seconds=5.0)
    return Rfc2136Records(region, lambda: "home", options, zone, 60)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (a_key("paris", "hmac-md5"), "too weak"),
        (a_key("paris", "hmac-sha1"), "too weak"),
        ("", "no key as tsig-keygen prints it"),
        ('key "x" { algorithm hmac-sha256; secret "AAA"; };', "no base64"),
    ],
)
def test_a_key_that_is_none_is_refused_and_never_shown(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(RefusedError, match=why) as caught:
        read_key(file)
    secret = text.partition('secret "')[2].partition('"')[0]
    assert not secret or secret not in str(caught.value)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="can't be read: No such file"):
        read_key(tmp_path / "key")


@needs_bind
async def test_what_the_server_refuses_is_told_with_the_remedy(tmp_path: Path) -> None:
    async with bind(tmp_path / "bind") as found:
        key, other = found.key_file("paris"), tmp_path / "other.key"
        www = records(found.server, key)
        seen = await www.look(f"www.{ZONE}")
        with pytest.raises(RefusedError, match="update-policy"):
            await www.change(seen, Change(f"www.{ZONE}", ("192.0.2.1",), (), ("192.0.2.1",)))
        oslo = records(found.server, key, "oslo")  # with the key of paris
        with pytest.raises(RefusedError, match="update-policy"):
            await oslo.change(await oslo.look(WEB), Change(WEB, ("192.0.2.2",), (), ("192.0.2.2",)))
        assert await found.addresses("web") == set()
        other.write_text(a_key("paris").replace("repave-paris", "nobody"))
        with pytest.raises(RefusedError, match="key"):
            await records(found.server, other).look(WEB)
        with pytest.raises(RefusedError, match="no zone"):
            await records(found.server, key).look("web.example.org")
        server = found.server
    with pytest.raises(TransientError, match="no answer"):
        await records(server, key).look(WEB)
