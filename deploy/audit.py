"""Are the dependencies those that were looked at, and is any of them known to be vulnerable?

`make check` asks the first, from uv.lock alone: each file that may be installed has a SHA-256 and comes from
the package index. `make audit` asks the second as well, of the index's list of vulnerabilities.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "uv.lock"
INDEX = "https://pypi.org/simple"
FILES = "https://files.pythonhosted.org/"


def faults_of(lock: str) -> Iterator[str]:
    """What of a lock file could be installed without having been looked at."""
    for package in tomllib.loads(lock)["package"]:
        source: dict[str, Any] = package["source"]
        if source == {"editable": "."}:
            continue
        if source != {"registry": INDEX}:
            yield f"{package['name']} comes from {source}, not from {INDEX}"
        files = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
        if not files:
            yield f"{package['name']} has no file"
        for each in files:
            if not each["url"].startswith(FILES):
                yield f"{package['name']} comes from {each['url']}"
            name, _, digest = str(each.get("hash", "")).partition(":")
            if name != "sha256" or len(digest) != 64:
                yield f"{each['url']} has no SHA-256"


def known_vulnerabilities() -> int:
    """1 where there are some; 0, with a word, where the list can't be asked."""
    uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        export = [uv, "export", "--quiet", "--locked", "--all-extras", "--all-groups", "--no-emit-project"]
        subprocess.run([*export, "--output-file", str(wanted)], cwd=ROOT, check=True)
        asking = [uv, "tool", "run", "pip-audit", "--requirement", str(wanted)]
        asking += ["--require-hashes", "--disable-pip", "--format", "json"]
        done = subprocess.run(asking, cwd=ROOT, capture_output=True, text=True)
    try:
        looked_at = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"SKIPPED: pip-audit can't ask from here: {done.stderr.strip()[-500:]}")
        return 0
    return told(looked_at)


def told(looked_at: list[dict[str, Any]]) -> int:
    """Prints what pip-audit found; 1 where a dependency is vulnerable."""
    unknown = [each["name"] for each in looked_at if "skip_reason" in each]
    if len(unknown) == len(looked_at):
        print("SKIPPED: the index here knows of no vulnerabilities at all; nothing was asked")
        return 0
    bad = [each for each in looked_at if each.get("vulns")]
    for each in bad:
        names = ", ".join(vulnerability["id"] for vulnerability in each["vulns"])
        print(f"{each['name']} {each['version']}: {names}")
    print(f"{len(looked_at) - len(unknown)} dependencies asked, {len(bad)} vulnerable; not known: {unknown}")
    return 1 if bad else 0


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--online", action="store_true", help="also ask for known vulnerabilities")
    chosen = arguments.parse_args()
    faults = list(faults_of(LOCK.read_text()))
    for each in faults:
        print(f"uv.lock: {each}", file=sys.stderr)
    if faults:
        return 1
    return known_vulnerabilities() if chosen.online else 0


if __name__ == "__main__":
    sys.exit(main())
