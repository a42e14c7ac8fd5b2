"""A whole repave on this machine for tests, the benchmark and the demo: the real controller and agents as
processes, one region each with its own loopback addresses. Everything lives in one directory and ends with
`stop`."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from repave_protos.package.archive import pack
from tests.support.example import Example
from tests.support.paths import ROOT
from tests.support.ports import free_ports
from tests.support.preloaded import Forked, Preloaded

Process = subprocess.Popen[bytes] | Forked

READY_SECONDS = 60.0
LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.02, 0.1
"""Between two looks at what is waited for: each takes the controller, too, some milliseconds."""
OCTETS = range(101, 251)  # a region gets 127.N.0.0/16 and 127.0.N.1: apart from those of `repave dev`
RESERVATION_PORT = 7399


@dataclass
class Stage:
    """`paris` and `oslo` by default. Processes may be killed and started again at will."""

    directory: Path
    regions: tuple[str, ...] = ("paris", "oslo")
    agent_environment: dict[str, str] = field(default_factory=dict)
    controller_environment: dict[str, str] = field(default_factory=dict)
    region_environment: dict[str, dict[str, str]] = field(default_factory=dict)
    """Region to settings of its own agent."""
    wrapped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Region to a command in front of its agent's, such as nsenter with its options."""
    fronts: dict[str, str] = field(default_factory=dict)
    """Region to the address of its load balancer, where it is not the agent's own."""
    is_preloaded: bool = True
    """Forked, where it can be. False: started from nothing, with an environment that /proc shows."""
    controller: Process | None = None
    agents: dict[str, Process] = field(default_factory=dict)
    preloaded: ClassVar[Preloaded | None] = None
    """Forked instead of a start from nothing, where there is one: for tests, which start hundreds."""

    def __post_init__(self) -> None:
        self.http_port, self.grpc_port = free_ports(2)
        self._octets = {region: _reserve_octet() for region in self.regions}
        self.directory.mkdir(parents=True, exist_ok=True)

    # ------------------------------------------------------------------------------------- processes

    def start(self) -> "Stage":
        self.start_controller()
        for region in self.regions:
            self.start_agent(region)
        self.wait(
            lambda: all(each["connected"] for each in self.get("regions")["items"]) and self._all(), "agents"
        )
        return self

    def _all(self) -> bool:
        return {each["name"] for each in self.get("regions")["items"]} >= set(self.regions)

    def start_controller(self) -> None:
        self.controller = self._spawn("controller", "repave_controller", self.controller_settings())
        self.wait(self.answers, "the controller")

    def controller_settings(self) -> dict[str, str]:
        return {
            "REPAVE_CONTROLLER_HTTP__LISTEN": f"127.0.0.1:{self.http_port}",
            "REPAVE_CONTROLLER_GRPC__LISTEN": f"127.0.0.1:{self.grpc_port}",
            "REPAVE_CONTROLLER_STATE": str(self.directory / "controller"),
            **self.controller_environment,
        }

    def start_agent(self, region: str) -> None:
        settings = self.agent_settings(region)
        self.agents[region] = self._spawn(region, "repave_agent", settings, self.wrapped.get(region, ()))

    def agent_settings(self, region: str) -> dict[str, str]:
        return {
            "REPAVE_AGENT_REGION": region,
            "REPAVE_AGENT_CONTROLLER": f"127.0.0.1:{self.grpc_port}",
            "REPAVE_AGENT_STATE": str(self.directory / region),
            "REPAVE_AGENT_LOCAL__ADDRESSES": f"127.{self.octet(region)}.0.0/16",
            "REPAVE_AGENT_HAPROXY__TRAFFIC_ADDRESS": self.traffic_address(region),
            **self.agent_environment,
            **self.region_environment.get(region, {}),
        }

    def octet(self, region: str) -> int:
        """No other stage on this machine has it."""
        return self._octets[region][0]

    def traffic_address(self, region: str) -> str:
        return self.fronts.get(region, f"127.0.{self.octet(region)}.1")

    def _spawn(
        self, name: str, module: str, settings: dict[str, str], wrapper: tuple[str, ...] = ()
    ) -> Process:
        environment = {**_clean_environment(), **settings}
        with (self.directory / f"{name}.log").open("ab") as log, open(os.devnull, "rb") as nothing:
            if self.preloaded is not None and self.is_preloaded and not wrapper:
                return self.preloaded.start([module], environment, self.directory, (nothing, log, log))
            return subprocess.Popen(
                [*wrapper, sys.executable, "-m", module],
                env=environment,
                stdin=nothing,
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )

    def kill_controller(self) -> None:
        assert self.controller is not None
        self.controller.kill()
        self.controller.wait()

    def kill_agent(self, region: str) -> None:
        self.agents[region].kill()
        self.agents[region].wait()

    def haproxy_worker(self, region: str, side: str = "haproxy") -> int:
        """The pid of the newest worker of one of the region's HAProxys. Raises OSError, ValueError while it
        starts again."""
        master, *_ = (self.directory / region / side / "haproxy.pid").read_text().split()
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return max(map(int, children))

    def kill_haproxy(self, region: str) -> None:
        """All of it, what starts it again first, as when its machine loses power."""
        for file in (self.directory / region).glob("haproxy/**/haproxy.pid"):
            for master in map(int, file.read_text().split()):
                children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
                starter = int(Path(f"/proc/{master}/stat").read_text().rpartition(")")[2].split()[1])
                for pid in (*([starter] if starter > 1 else []), master, *map(int, children)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Ends controller and agents, frozen ones too, then every host and balancer they made."""
        started: list[Process] = [*self.agents.values()]
        if self.controller is not None:
            started.insert(0, self.controller)
        for process in started:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        for process in started:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._clean()
        for _, reservation in self._octets.values():
            reservation.close()

    def _clean(self) -> None:
        """One process for all regions that are reached in the same way: most of it is to load the agent."""
        by_way: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for region in self.agents:
            by_way.setdefault(self.wrapped.get(region, ()), []).append(self.agent_settings(region))
        for way, settings in by_way.items():
            words, here = ["tests.support.cleaning"], {"PYTHONPATH": str(ROOT)}
            cleaned = self.run(words, here, way, json.dumps(settings))
            assert cleaned.returncode == 0, f"not clean: {cleaned.stdout}{cleaned.stderr}"

    # -------------------------------------------------------------------------------------- commands

    def release(
        self, version: str, *, application: Any = "hello", force: Any = False, **options: Any
    ) -> dict[str, Any]:
        """Writes, packs, pushes and releases the example that `options` describe; returns what was accepted.
        With `force` also where a region says that it has no room."""
        example = Example(application=application, **{"regions": self.regions, **options})
        spec = example.write(self.directory, version)
        digest = self.push(self.directory / version)
        body: dict[str, Any] = {
            "spec": spec.read_text(),
            "digest": digest,
            "version": version,
            "by": "test",
            "force": bool(force),
        }
        accepted: dict[str, Any] = self.call("POST", f"applications/{application}/releases", body)
        return accepted

    def push(self, package: Path) -> str:
        """Packs and stores a directory; returns its digest."""
        tarball = package.with_suffix(".tgz")
        pack(package, tarball)
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        connection.request("POST", "/v1/images", tarball.read_bytes(), {"X-Repave-Name": package.name})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return str(answer["digest"])

    def rollback(self) -> dict[str, Any]:
        accepted: dict[str, Any] = self.call("POST", "applications/hello/rollback", {"by": "test"})
        return accepted

    def ended(self, seconds: float = 120, application: str = "hello") -> dict[str, Any]:
        """Waits for the end of the present rollout; returns it."""

        def is_over() -> bool:
            return self.rollout(application)["phase"] not in ("running", "undoing")

        self.wait(is_over, f"the end of {application}'s rollout", seconds)
        return self.rollout(application)

    def rollout(self, application: str = "hello") -> dict[str, Any]:
        current: dict[str, Any] = self.get(f"applications/{application}")["current_rollout"]
        return current

    # ------------------------------------------------------------------------------------- questions

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer of the controller's API; an error answer raises AssertionError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            content = json.dumps(body) if body is not None else None
            connection.request(method, f"/v1/{path}", content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status < 400, answer if response.status < 500 else f"{answer}\n{self.logs()}"
            return answer
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether the controller does."""
        try:
            self.get("regions")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def begin_repave(self, *arguments: str) -> subprocess.Popen[str]:
        """The CLI beside everything else."""
        return subprocess.Popen(
            [sys.executable, "-m", "repave_cli.main", *arguments],
            env={**_clean_environment(), "REPAVE_URL": f"http://127.0.0.1:{self.http_port}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
        )

    def repave(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs the CLI as a user would."""
        environment = {"REPAVE_URL": f"http://127.0.0.1:{self.http_port}"}
        return self.run(["repave_cli.main", *arguments], environment, timeout=timeout)

    def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        way: tuple[str, ...] = (),
        text: str = "",
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """`python -m WORDS` in a clean environment, to its end."""
        environment = {**_clean_environment(), **environment}
        if self.preloaded is not None and self.is_preloaded and not way:
            return self.preloaded.run(words, environment, self.directory, text, timeout)
        return subprocess.run(
            [*way, sys.executable, "-m", *words],
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.directory,
            check=False,
        )

    def events(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """Events as they are saved, until the connection ends."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=60)
        connection.request("GET", f"/v1/events/stream?after={after}")
        try:
            for line in connection.getresponse():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def hosts(self) -> dict[str, list[str]]:
        """Region to the hosts that are there, as the directories of provider `local` tell."""
        return {
            region: sorted(path.name for path in (self.directory / region / "hosts").glob("*"))
            for region in self.regions
        }

    def weights(self, application: str = "hello") -> dict[str, dict[str, int]]:
        """Region to group to basis points, as the balancers acknowledge them; groups without any left out."""
        return {
            region["name"]: {
                each["name"]: each["weight_bp"] for each in region["groups"] if each["weight_bp"]
            }
            for region in self.get(f"applications/{application}")["region_items"]
        }

    def wait(self, condition: Callable[[], object], what: str, seconds: float = READY_SECONDS) -> None:
        """Looks until `condition` holds; fails loudly, with the logs, when it never does."""
        began = time.monotonic()
        while not condition():
            waited = time.monotonic() - began
            if waited > seconds:
                raise AssertionError(f"{what}: not within {seconds:g} s\n{self.logs()}")
            time.sleep(min(LOOK_SECONDS_MIN + waited / 20, LOOK_SECONDS_MAX))

    def logs(self) -> str:
        """The ends of all logs, for failure messages."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.directory.glob("*.log"))
        )


AnyStage = TypeVar("AnyStage", bound=Stage)


@contextmanager
def staged(directory: Path, **options: Any) -> Iterator[Stage]:
    """A started stage that leaves nothing running."""
    with kept(Stage(directory, **options)) as stage:
        yield stage


@contextmanager
def kept(stage: AnyStage) -> Iterator[AnyStage]:
    """Starts the stage; nothing of it runs on when the block is left."""
    try:
        stage.start()
        yield stage
    finally:
        stage.stop()


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("REPAVE_")}


def _reserve_octet() -> tuple[int, socket.socket]:
    """A number whose addresses no other stage on this machine uses, for as long as the socket is open; nor
    does what a run left behind that was killed."""
    used = Path("/proc/net/tcp").read_text()
    for octet in OCTETS:
        if f"{octet:02X}7F:" in used or f"01{octet:02X}007F:" in used:  # 127.N.x.x and 127.0.N.1
            continue
        reservation = socket.socket()
        try:
            reservation.bind((f"127.0.{octet}.1", RESERVATION_PORT))
        except OSError:
            reservation.close()
        else:
            return octet, reservation
    raise AssertionError("too many stages run on this machine")
