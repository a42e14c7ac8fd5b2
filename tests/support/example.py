"""The example application as a test releases it: its files, and the spec beside them."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.paths import EXAMPLE

SPEC = """\
repave: 1
app: {application}
artifact: {{uri: ./{version}}}
host:
  run: [{run}]
  env: {{{environment}}}
{upkeep}
health:
  http: {{port: {app_port}, path: /health}}
  interval: {interval}
  min_healthy_time: {min_healthy}
  launch_deadline: {launch_deadline}
traffic: {{frontend: {application}, {way_in}, drain: {drain}}}
regions:
{regions}
strategy: {strategy}
rollback:
  keep: {{for: {keep}, groups: 1}}
{more}"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """What differs from one release of it to the next."""

    application: str = "hello"
    port: int = 8000
    fronts: str = ""
    """As the spec has them, instead of the port."""
    regions: tuple[str, ...] = ("paris", "oslo")
    provider: str | Mapping[str, str] = "local"
    """Of all regions, or of each."""
    size: int = 2
    bounds: str = ""
    """Of that size, as the spec has them, instead of it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    upkeep: tuple[str, ...] = ()
    """Lines of the spec's section host, such as "max_age: 7d"."""
    app_port: int = 8080
    interval: str = "1s"
    min_healthy: str = "0s"
    launch_deadline: str = "30s"
    drain: str = "5s"
    warm: str = "1s"
    strategy: str = ""
    """As the spec has it, instead of blue/green with `warm`."""
    keep: str = "1h"
    more: str = ""
    """Further lines of the spec."""
    sick_in: str = ""
    """In this region the application never gets healthy."""
    run: tuple[str, ...] = ()
    """What starts a host, instead of this very Python and the example."""
    program: Path | None = None
    """Is released and run instead of the example."""

    @property
    def command(self) -> tuple[str, ...]:
        """In the package's folder."""
        if self.run:
            return self.run
        if self.program is not None:
            return (f"./{self.program.name}",)
        return (os.path.realpath(sys.executable), "-S", "-E", "app.py")

    def write(self, directory: Path, version: str) -> Path:
        """Its files in a folder called like the version, and the spec beside it; returns the spec's path."""
        package = directory / version
        package.mkdir(parents=True, exist_ok=True)
        if self.program is None:
            (package / "app.py").write_text(self._program())
        else:
            shutil.copy(self.program, package)
        (package / "version.txt").write_text(f"{version}\n")
        spec = directory / f"{version}.yaml"
        spec.write_text(self.spec(version))
        return spec

    def _program(self) -> str:
        program = (EXAMPLE / "app.py").read_text()
        if not self.sick_in:
            return program
        is_sick = f'os.environ["REPAVE_REGION"] == "{self.sick_in}"'
        line = f'os.environ["HEALTH"] = "500 Oops" if {is_sick} else "200 OK"'
        return program.replace("\nHEALTH = ", f"\n{line}\nHEALTH = ", 1)

    def _provider_of(self, region: str) -> str:
        return self.provider if isinstance(self.provider, str) else self.provider[region]

    def spec(self, version: str) -> str:
        regions = (
            f"  - {{name: {name}, provider: {self._provider_of(name)}, size: {self.bounds or self.size}}}"
            for name in self.regions
        )
        return SPEC.format(
            application=self.application,
            way_in=f"fronts: {self.fronts}" if self.fronts else f"port: {self.port}",
            version=version,
            run=", ".join(self.command),
            environment=", ".join(f'{name}: "{value}"' for name, value in self.environment.items()),
            upkeep="\n".join(f"  {line}" for line in self.upkeep),
            app_port=self.app_port,
            interval=self.interval,
            min_healthy=self.min_healthy,
            launch_deadline=self.launch_deadline,
            drain=self.drain,
            regions="\n".join(regions),
            strategy=self.strategy or f"{{blue_green: {{warm: {self.warm}}}}}",
            keep=self.keep,
            more=self.more,
        )
