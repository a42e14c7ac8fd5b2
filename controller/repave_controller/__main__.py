"""Wires the controller from its settings: `repave-controller run` (the default), `show-config`.

The only module of the controller that reads the environment and starts servers.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import structlog

from repave_controller.api.app import make_app
from repave_controller.api.door import make_door
from repave_controller.api.resources.agents import Agents
from repave_controller.api.web.server import connections_within, serve
from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import StoreError
from repave_controller.fleet.packages import SUFFIX, ImageDirectory
from repave_controller.fleet.sessions import Sessions, start_server, stop_server
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.authority import Authority, OperatorsAuthority, OwnAuthority, Source
from repave_controller.security.enrolment import Enrolment
from repave_controller.settings import ControllerSettings
from repave_controller.stores.sqlite.store import SqliteStore, new_name
from repave_protos import __version__
from repave_protos.daemon.logs import configure_logs, log_faults_of
from repave_protos.daemon.resources import descriptors, require_threads
from repave_protos.daemon.settings import SettingsError, load_settings, show_settings
from repave_protos.daemon.supervisor import READY, STOPPING, Supervisor, supervisor_of
from repave_protos.protocol.certificates import trust_domain_of
from repave_protos.protocol.channel import BEAT_SECONDS, join, loopback_only, split_address
from repave_protos.protocol.values import Welcome

PREFIX = "REPAVE_CONTROLLER_"
DEFAULT_FILE = Path("/etc/repave/controller.toml")

log = structlog.get_logger()


async def run(settings: ControllerSettings, is_new: bool = False) -> None:
    """Serves until SIGTERM or SIGINT. Raises StoreError, ValueError (an address), OSError (a port taken)."""
    supervisor = supervisor_of()
    log_faults_of(asyncio.get_running_loop())
    host, port = loopback_only(settings.http.listen, "http.listen")
    named = (lambda: settings.installation) if settings.installation else new_name
    store = SqliteStore(settings.state / "controller.db", new_name=named)
    if not is_new:
        refuse_loss(settings.state)
    loaded = await store.open()
    if settings.installation not in ("", loaded.installation):
        await store.close()
        raise StoreError(
            f"installation: the store in {settings.state} is called {loaded.installation}, not "
            f"{settings.installation}; leave the setting out, or name a new state directory"
        )
    clock = SteadyClock(loaded.last_event_at)
    images = ImageDirectory(settings.state / "images", clock)
    sessions = Sessions(
        Welcome(
            __version__,
            loaded.installation,
            f"http://{join(host, port)}/v1/images",
            beat_seconds=BEAT_SECONDS,
        ),
        clock,
    )
    scheduler = Scheduler(store, images, loaded, clock, sessions, settings.limits.in_force)
    sessions.report_to(scheduler)
    try:
        enrolment = await _enrolment(settings, loaded.installation, store, scheduler, sessions)
        agents = Agents(enrolment, sessions, clock, _agents_url(settings))
        app = make_app(
            scheduler=scheduler, store=store, images=images, sessions=sessions, clock=clock, agents=agents
        )
        shown = enrolment.authority.shown if enrolment is not None else None
        server, grpc_port = await start_server(sessions, settings.grpc.listen, shown=shown)
        try:
            async with AsyncExitStack() as serving:
                await serving.enter_async_context(serve(app, host, port, connections_within(descriptors())))
                if enrolment is not None:
                    await serving.enter_async_context(_door(settings, enrolment, images, grpc_port))
                if clock.warning:
                    log.warning("clock.set_back", text=clock.warning)
                    scheduler.note(Event("clock.set_back", clock.warning))
                log.info(
                    "controller.started",
                    http=settings.http.listen,
                    grpc=settings.grpc.listen,
                    agents=settings.agents.listen if enrolment is not None else "",
                    version=__version__,
                )
                await _run_until_signal(scheduler, supervisor)
        finally:
            await stop_server(sessions, server)
    finally:
        await store.close()


async def _enrolment(
    settings: ControllerSettings,
    installation: str,
    store: SqliteStore,
    scheduler: Scheduler,
    sessions: Sessions,
) -> Enrolment | None:
    """None over plaintext. Raises AuthorityError, StoreError."""
    tls, clock, directory = settings.tls, scheduler.clock, settings.state / "security"
    if not tls.enabled:
        return None
    domain = trust_domain_of(installation)
    source: Source = (
        OperatorsAuthority(Path(tls.ca), Path(tls.ca_key))
        if tls.ca
        else OwnAuthority(directory, domain, clock())
    )
    names = (*tls.names.split(), "localhost", "127.0.0.1", "::1", socket.gethostname())
    authority = Authority(source, domain, names, clock, directory)
    enrolment = Enrolment(authority, store, clock, scheduler.event_log.tell, sessions.recheck)
    await enrolment.load()
    sessions.guard_with(enrolment)
    return enrolment


def _agents_url(settings: ControllerSettings) -> str:
    """Where agents reach this controller, as far as it knows."""
    host, port = split_address(settings.agents.listen, "agents.listen")
    name = next(iter(settings.tls.names.split()), host)
    return f"https://{join(socket.gethostname() if name in ('0.0.0.0', '::') else name, port)}"


def _door(
    settings: ControllerSettings, enrolment: Enrolment, images: ImageDirectory, grpc_port: int
) -> AbstractAsyncContextManager[int]:
    host, port = split_address(settings.agents.listen, "agents.listen")
    door = make_door(enrolment, images, lambda: grpc_port)
    return serve(door, host, port, connections_within(descriptors()), enrolment.authority.http_context())


def refuse_loss(state: Path) -> None:
    """A store that is gone or empty beside packages was lost: to begin anew is a person's decision.

    Raises StoreError.
    """
    store = state / "controller.db"
    packages = sum(1 for _ in (state / "images").glob(f"*{SUFFIX}"))
    if packages and not (store.exists() and store.stat().st_size):
        is_there = "is empty" if store.exists() else "is gone"
        raise StoreError(
            f"{store} {is_there}, and {state / 'images'} holds {packages} packages of the releases it knew. "
            "Restore it from a backup; or start with --new, and then adopt what regions run "
            "(repave controller recover)"
        )


async def _run_until_signal(scheduler: Scheduler, supervisor: Supervisor) -> None:
    supervisor.tell(READY)
    work = asyncio.gather(scheduler.run(), supervisor.keep_alive())
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        supervisor.tell(STOPPING)
        log.info("controller.stopped")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the process's exit code: 0 done, 1 could not start, 2 wrong settings."""
    parser = argparse.ArgumentParser(prog="repave-controller", description="Decides for repave.")
    parser.add_argument("command", nargs="?", choices=("run", "show-config"), default="run")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--config", type=Path, help=f"settings file (default {DEFAULT_FILE}, if it is there)")
    parser.add_argument(
        "--new", action="store_true", help="begin an empty store though packages of a former one are there"
    )
    chosen = parser.parse_args(arguments)
    file = chosen.config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    try:
        settings, origins = load_settings(ControllerSettings, file, os.environ, PREFIX)
    except SettingsError as error:
        print(f"repave-controller: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if chosen.command == "show-config":
        print(show_settings(settings, origins))  # noqa: T201
        return 0
    configure_logs(settings.log, SteadyClock(Instant(0.0)))
    try:
        require_threads()
        asyncio.run(run(settings, is_new=chosen.new))
    except (StoreError, ValueError, OSError) as error:
        print(f"repave-controller: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except MemoryError:
        print("repave-controller: out of memory: allow this process more (ulimit -v)", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
