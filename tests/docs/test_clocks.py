"""Only __main__ and clock.py read a clock. Ruff refuses time.time and its like (TID251); it can't see the
clock of an event loop, so that is looked for here."""

import ast
from pathlib import Path

from tests.support.paths import ROOT

MEASURES_THE_LOOP_ITSELF = "controller/repave_controller/runtime/suspension.py"


def reads_of_a_loop(path: Path) -> bool:
    return ".time()" in path.read_text() and any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "time"
        and not node.args
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_no_module_reads_the_clock_of_its_event_loop() -> None:
    folders = ("agent/repave_agent", "controller/repave_controller", "protos/repave_protos")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 100
    found = {
        str(path.relative_to(ROOT)) for path in modules if path.name != "clock.py" and reads_of_a_loop(path)
    }
    assert found == {MEASURES_THE_LOOP_ITSELF}
