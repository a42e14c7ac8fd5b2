"""A stage whose controllers are several, on one PostgreSQL: each may be killed, frozen and started again."""

import signal
import subprocess
from dataclasses import dataclass, field

from repave_controller.peers.ports import shard_of
from repave_protos.protocol.values import ApplicationName
from tests.support.ports import free_ports
from tests.support.stage import Process, Stage


@dataclass
class SeveralStage(Stage):
    """`database` is the URL of a fresh database. People speak to `front`; agents know all controllers."""

    database: str = ""
    names: tuple[str, ...] = ("c1", "c2", "c3")
    databases: dict[str, str] = field(default_factory=dict)
    """Controller to the URL by which it reaches the database, where that is its own."""
    controllers: dict[str, Process] = field(default_factory=dict)
    front: str = "c1"

    def __post_init__(self) -> None:
        super().__post_init__()
        ports = free_ports(2 * len(self.names))
        self._ports = {name: (ports[2 * n], ports[2 * n + 1]) for n, name in enumerate(self.names)}
        self.turn_to(self.front)

    def turn_to(self, name: str) -> None:
        """From now on people speak to this controller."""
        self.front = name
        self.http_port = self._ports[name][0]

    def start_controller(self) -> None:
        for name in self.names:
            self.begin_controller(name)
        for name in self.names:
            self.turn_to(name)
            self.wait(self.answers, f"controller {name}")
        self.turn_to(self.names[0])
        self.wait(self.is_shared, "shards of every controller")

    def begin_controller(self, name: str) -> None:
        http, grpc = self._ports[name]
        settings = {
            **self.controller_settings(),
            "REPAVE_CONTROLLER_HTTP__LISTEN": f"127.0.0.1:{http}",
            "REPAVE_CONTROLLER_GRPC__LISTEN": f"127.0.0.1:{grpc}",
            "REPAVE_CONTROLLER_STATE": str(self.directory / name),
            "REPAVE_CONTROLLER_NAME": name,
            "REPAVE_CONTROLLER_STORE__URL": self.databases.get(name, self.database),
        }
        self.controllers[name] = self._spawn(name, "repave_controller", settings)

    def agent_settings(self, region: str) -> dict[str, str]:
        addresses = " ".join(f"127.0.0.1:{grpc}" for _, grpc in self._ports.values())
        return {**super().agent_settings(region), "REPAVE_AGENT_CONTROLLER": addresses}

    @property
    def agents_address(self) -> str:
        """Where agents dial in, at each of them."""
        return ",".join(f"127.0.0.1:{grpc}" for _, grpc in self._ports.values())

    # ------------------------------------------------------------------------------------ controllers

    def owner(self, application: str = "hello") -> str:
        """The controller that decides for it, by what the front one knows; "" for the moment of a change."""
        shard = shard_of(ApplicationName(application))
        found = (each["name"] for each in self.get("controllers")["items"] if shard in each["shards"])
        return next(map(str, found), "")

    def is_shared(self) -> bool:
        items = self.get("controllers")["items"]
        return len(items) == len(self.names) and all(each["shards"] for each in items)

    def kill(self, name: str) -> None:
        self.controllers[name].kill()
        self.controllers[name].wait()

    def freeze(self, name: str) -> None:
        self.controllers[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.controllers[name].send_signal(signal.SIGCONT)

    def another(self, name: str) -> str:
        """A controller that runs, and is not this one."""
        return next(each for each in self.names if each != name and self.controllers[each].poll() is None)

    def stop(self) -> None:
        for process in self.controllers.values():
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        super().stop()
        for process in self.controllers.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
