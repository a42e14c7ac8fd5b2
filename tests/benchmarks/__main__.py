"""`make bench`: what repave costs and how fast it is, beside floors measured in the same minutes.

python -m tests.benchmarks [--quick] [--only NAME]
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from tests.benchmarks import (
    accepting,
    analysis,
    api,
    beside,
    canaries,
    canary_rates,
    cli,
    clouds,
    dashboard,
    database,
    deaths,
    decision,
    files,
    fleet,
    fronts,
    gcp_lb,
    growth,
    herd,
    inside,
    load,
    octavia,
    peers,
    probes,
    providers,
    release,
    retention,
    split,
    take_over,
)
from tests.benchmarks.table import Line


def parts(is_quick: bool) -> dict[str, Callable[[Path], Iterator[Line]]]:
    """Name to benchmark; each gets an empty directory."""
    chosen: dict[str, Callable[[Path], Iterator[Line]]] = {
        "store": inside.transitions,
        "retention": lambda place: retention.run(place, 10_000 if is_quick else 100_000),
        "postgresql": lambda place: database.transitions(place, 30 if is_quick else 200),
        "reports": lambda _: inside.reports(),
        "decision": lambda _: decision.run(),
        "growth": lambda _: growth.run(),
        "accepting": lambda place: accepting.run(place, (20, 100) if is_quick else (100, 1_000, 5_000)),
        "analysis": lambda _: analysis.run(),
        "canary": lambda _: canary_rates.run(20 if is_quick else 200),
        "canary-e2e": lambda place: canaries.run(place, is_quick),
        "api": lambda place: api.run(place, is_quick),
        "plan": lambda _: fleet.planning(),
        "dashboard": lambda place: dashboard.run(place, 4 if is_quick else 12, 3.0 if is_quick else 10.0),
        "cli": lambda place: cli.run(place, (2, 20) if is_quick else (2, 500), 2 if is_quick else 5),
        "back": lambda place: fleet.back(place, 20 if is_quick else 100, 3 if is_quick else 21),
        "agents": lambda place: herd.agents(place, 100 if is_quick else 1_000),
        "many": lambda place: herd.many(place, 100 if is_quick else 10_000),
        "shared": lambda place: herd.shared(place, 100 if is_quick else 10_000),
        "returns": lambda place: herd.returns(place, 100 if is_quick else 5_000),
        "waves": lambda place: fleet.waves(place, 8 if is_quick else 20),
        "openstack": lambda place: providers.openstack(place, 20 if is_quick else 100),
        "clouds": lambda place: clouds.run(
            place, 20 if is_quick else 100, 2 if is_quick else 9, 2.0 if is_quick else 20.0
        ),
        "gcp_lb": lambda place: gcp_lb.run(place, 2, 2 if is_quick else 5),
        "octavia": lambda place: octavia.run(place, 2, 2 if is_quick else 5),
        "ssh": lambda place: providers.machines(place, 4 if is_quick else 16),
        "files": lambda place: files.run(place, 2_000 if is_quick else 20_000),
        "probes": lambda place: probes.run(place, 2.0 if is_quick else 10.0),
        "beside": lambda place: beside.run(
            place, (1, 20) if is_quick else (1, 50, 200), 2.0 if is_quick else 10.0
        ),
        "switch": lambda place: load.switches(place, 5 if is_quick else 30),
        "split": lambda place: split.run(place, 4_000 if is_quick else 40_000),
        "fronts": lambda place: fronts.run(place, 1 if is_quick else 5),
        "deaths": lambda place: deaths.run(place, 2 if is_quick else 10),
        "takeover": lambda _: take_over.kills(5 if is_quick else 60),
        "freezes": lambda _: take_over.freezes(2 if is_quick else 20),
        "trivial20": lambda place: release.trivial(place, 20, 1 if is_quick else 7),
        "release20": lambda place: release.run(place, 20, 1 if is_quick else 7),
        "peers": lambda place: peers.run(place, 1 if is_quick else 3),
        "load": lambda place: load.run(place, 2 if is_quick else 10, 300 if is_quick else 1000),
    }
    if not is_quick:
        chosen["trivial200"] = lambda place: release.trivial(place, 200, 3)
        chosen["release200"] = lambda place: release.run(place, 200, 3)
    return chosen


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small form, about a minute")
    parser.add_argument("--only", help="one part: " + ", ".join(parts(False)))
    wanted = parser.parse_args()
    known = parts(wanted.quick)
    if wanted.only and wanted.only not in known:
        parser.error(f"--only: there are {', '.join(known)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    missed = 0
    for name, part in known.items():
        if wanted.only in (None, name):
            place = Path(tempfile.mkdtemp(prefix="rb"))
            began = time.monotonic()
            try:
                for line in part(place):
                    missed += line.is_met is False
                    print(line, flush=True)
            finally:
                shutil.rmtree(place, ignore_errors=True)
            print(f"  ({name}: {time.monotonic() - began:.0f} s)", flush=True)
    print(f"{missed} goals missed" if missed else "every goal met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
