"""A real Prometheus and its promtool: the machine's, or those that `make tools` puts beside the code."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "repave.json"
READY_SECONDS = 60.0


def binary(name: str) -> str:
    """Its path. Raises FileNotFoundError with what to do."""
    beside = ROOT / ".tools" / "usr" / "bin" / name
    found = shutil.which(name) or (str(beside) if beside.exists() else "")
    if not found:
        raise FileNotFoundError(f"{name} is not there: make tools")
    return found


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that are there now. Raises AssertionError when the query is wrong."""
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        found: list[dict[str, Any]] = told["data"]["result"]
        return found

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(
    directory: Path, port: int, jobs: dict[str, list[str]], targets: Path | None = None
) -> Iterator[Prometheus]:
    """Scrapes `jobs` (name to addresses) every second, with repave's rules, until the block ends; also what
    the file `targets` names (JSON of file_sd_configs), as it changes."""
    scrapes: list[dict[str, Any]] = [
        {"job_name": name, "static_configs": [{"targets": each}]} for name, each in jobs.items()
    ]
    if targets is not None:
        found = [{"files": [str(targets)], "refresh_interval": "1s"}]
        scrapes.append({"job_name": "hosts", "file_sd_configs": found})
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": scrapes,
    }
    directory.mkdir()
    (directory / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    command = [
        binary("prometheus"),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        running = Prometheus(f"http://127.0.0.1:{port}")
        until = time.monotonic() + READY_SECONDS
        while not running.is_ready():
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < until, "Prometheus is not ready"
            time.sleep(0.1)
        yield running
    finally:
        process.terminate()
        process.wait(20)
