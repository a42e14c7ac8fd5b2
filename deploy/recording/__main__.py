"""`make recording`: records `make demo` as docs/demo.cast, in version 2 of asciinema's format, and draws it
as docs/demo.svg, the moving picture that README shows.
"""

import sys
from pathlib import Path

from deploy.recording.cast import Cast, record
from deploy.recording.picture import draw

ROOT = Path(__file__).parents[2]
COLUMNS, ROWS = 112, 30
SECONDS_MAX = 180.0


def main() -> int:
    command = [sys.executable, "-m", "deploy.demo"]
    cast, code = record(command, "make demo", COLUMNS, ROWS, SECONDS_MAX, cwd=ROOT)
    if code != 0:
        print(f"the demo ended with {code}; nothing was written", file=sys.stderr)
        return 1
    write(cast, ROOT / "docs")
    print(f"docs/demo.cast and docs/demo.svg: {cast.seconds:.0f} s")
    return 0


def write(cast: Cast, folder: Path) -> None:
    (folder / "demo.cast").write_text(cast.text())
    (folder / "demo.svg").write_text(draw(cast))


if __name__ == "__main__":
    sys.exit(main())
