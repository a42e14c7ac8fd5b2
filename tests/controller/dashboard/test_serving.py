"""The page and the files of the dashboard: where they are answered, how long kept, what they may load."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from repave_controller.dashboard.serving import FILES, TYPES
from tests.fakes.controller.asking import Asking
from tests.fakes.controller.scheduler import served
from tests.support.paths import ROOT

HTML = {"Accept": "text/html,application/xhtml+xml"}
OURS = sorted(each for each in FILES.rglob("*.js") if "vendor" not in each.parts)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """Of a controller with accounts, asked by one who has not logged in."""
    with served(tmp_path_factory.mktemp("dashboard"), has_accounts=True) as controller:
        yield Asking(controller.url)


@pytest.mark.parametrize("path", ["/", "/apps/web", "/apps/web/rollouts/3", "/login", "/api", "/nothing?x=1"])
def test_a_browser_gets_the_page_for_every_path_of_ours_without_a_log_in(api: Asking, path: str) -> None:
    answer = api.get(path, **HTML)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/v1/nothing", "/healthz/x", "/metrics/x", "/hooks/x", "/assets/x/no.js"])
def test_what_is_the_api_s_stays_so(api: Asking, path: str) -> None:
    answer = api.get(path, **HTML)
    assert answer.status in (401, 404)
    assert "json" in answer.headers["Content-Type"]


def test_a_program_gets_no_page(api: Asking) -> None:
    assert api.get("/", Accept="application/json").status == 401
    assert api.ask("POST", "/", b"{}", HTML).status == 401


def test_all_that_the_page_names_is_there_and_is_kept_for_ever(api: Asking) -> None:
    named = re.findall(r'(?:src|href)="(/assets/[^"]+)"', api.get("/", **HTML).content.decode())
    assert len(named) > 5
    for path in named:
        answer = api.get(path)
        assert answer.status == 200, path
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_of_another_version_gets_these_files_but_does_not_keep_them(api: Asking) -> None:
    answer = api.get("/assets/0000000000000000/app.css")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")


def test_no_path_leads_out_of_the_directory(api: Asking) -> None:
    for name in ("../serving.py", "%2e%2e/serving.py", "vendor/LICENCES", "index.html", ""):
        assert api.get(f"/assets/x/{name}").status in (401, 404), name


def test_files_come_packed_where_a_browser_can_unpack_them(api: Asking) -> None:
    packed = api.get("/assets/x/parts.js", **{"Accept-Encoding": "gzip, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == api.get("/assets/x/parts.js").content
    font = api.get("/assets/x/vendor/geist.woff2", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in font.headers


def test_nothing_but_these_files_can_be_loaded_or_run(api: Asking) -> None:
    policy = api.get("/", **HTML).headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    for part in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"):
        assert part in policy


# -------------------------------------------------------------------------------------------- the files


def test_no_text_can_become_markup_or_a_script() -> None:
    """All that is shown is a text node; handlers are functions."""
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacent|dangerouslySet|document\.write|\beval\(|new Function|srcdoc"
        r"|javascript:"
    )
    for path in OURS:
        assert not forbidden.search(path.read_text()), path
    page = (FILES / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", page)


def test_every_module_is_checked_by_types_and_says_what_it_is() -> None:
    for path in OURS:
        lines = path.read_text().splitlines()
        first = lines[0] if path.name == "theme.js" else lines[1]
        assert first.startswith("// "), f"{path}: open it by saying what it answers"
        assert path.name == "theme.js" or lines[0] == "// @ts-check", path


def test_every_screen_has_a_route_and_every_route_a_screen() -> None:
    named = set(re.findall(r'import\("\./screens/([\w-]+\.js)"\)', (FILES / "routes.js").read_text()))
    assert {each.name for each in (FILES / "screens").iterdir()} == named


def test_nothing_is_fetched_from_elsewhere() -> None:
    for path in [*OURS, FILES / "index.html", FILES / "app.css"]:
        found = re.findall(r"https?://[^\s\"'`)]+", path.read_text())
        assert not [each for each in found if not each.startswith("http://www.w3.org/")], path


def test_every_kind_of_file_has_a_type() -> None:
    known = {*TYPES, ".ts", ""}
    assert not [each for each in FILES.rglob("*") if each.is_file() and each.suffix not in known]


def test_screens_use_the_tokens_of_the_one_style_sheet() -> None:
    for path in OURS:
        colours = re.findall(r"#[0-9a-fA-F]{6}\b|rgba?\(|hsla?\(|oklch\(", path.read_text())
        assert not colours, f"{path}: {colours}: use a tone"


def test_the_wheel_has_all_of_them() -> None:
    """hatchling takes what git does not ignore."""
    ignored = (ROOT / ".gitignore").read_text().split()
    assert not {"vendor", "vendor/", "*.js", "*.css", "*.woff2"} & set(ignored)
    assert Path("controller/repave_controller/dashboard") == FILES.parent.relative_to(ROOT)


def test_no_value_in_a_template_lacks_its_dollar() -> None:
    """htm would take `lines={[]}` for a text."""
    found = [
        f"{path.name}: {line.strip()[:100]}"
        for path in OURS
        for line in path.read_text().splitlines()
        if re.search(r"\s[A-Za-z-]+=\{", line)
    ]
    assert found == []
