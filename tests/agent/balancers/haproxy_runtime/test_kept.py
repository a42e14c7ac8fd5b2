"""What the agent writes for the next start of an operator's HAProxy, and what it leaves alone there."""

from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.balancers.haproxy_runtime.kept import KeptFiles, with_routes, with_servers
from repave_agent.balancers.haproxy_runtime.layout import Layout, SlotLayout, Wanted
from repave_agent.balancers.haproxy_runtime.snippet import slots
from repave_agent.balancers.haproxy_runtime.weights import WeightLayout
from repave_agent.core.ports import Route, Structure
from repave_protos.protocol.values import ApplicationName, GroupName
from tests.fakes.agent.haproxy_rig import backend, frontend

BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
SHOP = ApplicationName("shop")
SERVING = Wanted(
    "paris-1",
    Structure((frontend("shop", 80),), (backend(BLUE, 81), backend(GREEN, 82, is_enabled=False))),
    (Route(SHOP, BLUE),),
    {BLUE: "repave-slot-1", GREEN: "repave-slot-2"},
)
POOLED = replace(SERVING, slots={BLUE: "repave-pool-shop", GREEN: "repave-pool-shop"})
FIRST = "  server shop-v001-0 127.0.0.1:81 check inter 1s fastinter 250ms downinter 250ms"
SECOND = "  server shop-v002-0 127.0.0.1:82 check inter 1s fastinter 250ms downinter 250ms"


def kept(directory: Path, layout: Layout) -> KeptFiles:
    mapped = str(directory / "repave.map") if isinstance(layout, SlotLayout) else ""
    return KeptFiles(str(directory / "repave.cfg"), mapped, layout)


def test_servers_and_routes_stand_where_haproxy_reads_them(tmp_path: Path) -> None:
    (tmp_path / "repave.cfg").write_text(slots(2))
    (tmp_path / "repave.map").write_text("_port.shop 80\n")
    files = kept(tmp_path, SlotLayout(str(tmp_path / "repave.map")))
    files.keep(SERVING)
    assert (files.lack, files.trouble) == ("", "")
    lines = (tmp_path / "repave.cfg").read_text().splitlines()
    assert lines[:3] == ["backend repave-slot-1", FIRST, "  mode http"]
    assert f"{SECOND} disabled" in lines
    assert (tmp_path / "repave.map").read_text() == ("_port.shop 80\nshop repave-slot-1|repave-slot-1|0\n")
    files.keep(Wanted("paris-1"))
    assert (tmp_path / "repave.cfg").read_text() == slots(2)
    assert (tmp_path / "repave.map").read_text() == "_port.shop 80\n"


def test_without_a_map_the_weights_are_kept(tmp_path: Path) -> None:
    (tmp_path / "repave.cfg").write_text("backend repave-pool-shop\n")
    kept(tmp_path, WeightLayout()).keep(POOLED)
    first, second = (tmp_path / "repave.cfg").read_text().splitlines()[1:]
    assert first.startswith(f"{FIRST} weight ")
    assert not first.endswith(" weight 0")
    assert second == f"{SECOND} weight 0 disabled"


OPERATORS = """\
# mine
backend repave-slot-1 from web
  balance leastconn
  server gone 127.0.0.1:9
peers us
  server one 127.0.0.1:10000
backend other
  server two 127.0.0.1:9
"""


def test_what_is_not_repaves_stays_as_it_was() -> None:
    after = with_servers(OPERATORS, {"repave-slot-1": [FIRST]}, SlotLayout("map"))
    assert after == OPERATORS.replace("  server gone 127.0.0.1:9\n", "").replace(
        "from web\n", f"from web\n{FIRST}\n"
    )
    assert with_servers(after, {"repave-slot-1": [FIRST]}, SlotLayout("map")) == after
    assert with_routes("# mine\n_split.shop x\nshop a|a|0\nblog b|b|0\n", {"shop": "b|b|0"}) == (
        "# mine\n_split.shop x\nshop b|b|0\n"
    )


def test_no_file_is_made_that_the_operator_has_not_made(tmp_path: Path) -> None:
    files = kept(tmp_path, SlotLayout(str(tmp_path / "repave.map")))
    files.keep(SERVING)
    assert (files.lack, files.trouble) == (f"{tmp_path}/repave.cfg is not there", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["repave.cfg", "repave.map"])
def test_what_can_not_be_kept_is_told_and_stops_nothing(tmp_path: Path, name: str) -> None:
    for each in ("repave.cfg", "repave.map"):
        (tmp_path / each).write_text("")
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    files = kept(tmp_path, SlotLayout(str(tmp_path / "repave.map")))
    files.keep(SERVING)
    assert files.trouble == (
        f"{tmp_path / name} cannot be written, so a reload would bring back old routes: Is a directory"
    )
    (tmp_path / name).rmdir()
    (tmp_path / name).write_text("")
    files.keep(SERVING)
    assert files.trouble == ""


def test_the_file_keeps_its_mode_and_the_link_that_leads_to_it(tmp_path: Path) -> None:
    real = tmp_path / "real.cfg"
    real.write_text(slots(2))
    real.chmod(0o640)
    (tmp_path / "repave.cfg").symlink_to(real)
    kept(tmp_path, SlotLayout("")).keep(SERVING)
    assert FIRST in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "repave.cfg").is_symlink()
