"""Wires the controller from its settings: `repave-controller run` (the default), `show-config`,
`admin-token`, `backup` and `restore`.

The only module of the controller that reads the environment and starts servers.
"""

import argparse
import asyncio
import os
import secrets
import signal
import socket
import ssl
import stat
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from repave_controller.api.app import make_app
from repave_controller.api.door import make_door
from repave_controller.api.resources.agents import Agents
from repave_controller.api.web.access import Guarded
from repave_controller.api.web.server import connections_within, serve
from repave_controller.api.web.tls import context_of, expiry_of, keep_fresh
from repave_controller.backups.commands import put_back, take
from repave_controller.backups.manifest import BackupError
from repave_controller.backups.putting_back import finish
from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import Store, StoreError
from repave_controller.fleet.holder_records import HolderRecords
from repave_controller.fleet.listening import start_server, stop_server
from repave_controller.fleet.packages import SUFFIX, ImageDirectory
from repave_controller.fleet.sessions import Sessions
from repave_controller.metrics.metrics import Metrics
from repave_controller.operations.artifacts import Artifacts, artifacts_of
from repave_controller.operations.prices import PriceFile
from repave_controller.operations.reach import Reach
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.accounts import Accounts
from repave_controller.security.audit import Audit, Entry, audit_of
from repave_controller.security.authority import Authority, OperatorsAuthority, OwnAuthority, Source
from repave_controller.security.enrolment import Enrolment
from repave_controller.security.issuers import Issuers
from repave_controller.security.logins import Logins
from repave_controller.security.outbound import HttpOutbound
from repave_controller.security.principals import LOCAL_NAME
from repave_controller.security.provenance import Provenance
from repave_controller.security.provider import Client, Provider
from repave_controller.security.records import load_accounts
from repave_controller.security.tickets import KEY_BYTES, Tickets
from repave_controller.settings import ControllerSettings, OidcSettings
from repave_controller.stores.sqlite.store import SqliteStore, new_name
from repave_protos import __version__
from repave_protos.daemon import files
from repave_protos.daemon.logs import configure_logs, log_faults_of
from repave_protos.daemon.metrics import new_registry
from repave_protos.daemon.resources import descriptors, require_threads
from repave_protos.daemon.settings import SettingsError, load_settings, show_settings
from repave_protos.daemon.supervisor import READY, STOPPING, Supervisor, supervisor_of
from repave_protos.package.signing import signing_of
from repave_protos.protocol.certificates import trust_domain_of
from repave_protos.protocol.channel import (
    BEAT_SECONDS,
    InsecureAddressError,
    join,
    loopback_only,
    split_address,
)
from repave_protos.protocol.values import Welcome

PREFIX = "REPAVE_CONTROLLER_"
DEFAULT_FILE = Path("/etc/repave/controller.toml")

log = structlog.get_logger()


async def run(settings: ControllerSettings, is_new: bool = False) -> None:
    """Serves until SIGTERM or SIGINT. Raises StoreError, ValueError (an address), OSError (a port taken)."""
    supervisor = supervisor_of()
    log_faults_of(asyncio.get_running_loop())
    host, port = address_of(settings)
    is_tls = uses_tls(settings)
    named = (lambda: settings.installation) if settings.installation else new_name
    opened = SqliteStore(settings.state / "controller.db", new_name=named)
    finish(settings.state)
    if not is_new:
        refuse_loss(settings.state)
    loaded = await opened.open()
    if settings.installation not in ("", loaded.installation):
        await opened.close()
        raise StoreError(
            f"installation: the store in {settings.state} is called {loaded.installation}, not "
            f"{settings.installation}; leave the setting out, or name a new state directory"
        )
    clock = SteadyClock(loaded.last_event_at)
    metrics = Metrics(new_registry(__version__), clock, settings.state)
    metrics.ledger.know(loaded.applications)
    store = metrics.measured(opened)
    images = ImageDirectory(settings.state / "images", clock)
    url = settings.http.url.rstrip("/") or f"{'https' if is_tls else 'http'}://{join(host, port)}"
    guarded = await guarded_by(settings, store, loaded.installation, url, clock)
    sessions = Sessions(
        Welcome(
            __version__,
            loaded.installation,
            f"{url}/v1/images",
            beat_seconds=BEAT_SECONDS,
        ),
        clock,
        ticket_of=guarded.tickets.of if guarded is not None else None,
    )
    scheduler = Scheduler(store, images, loaded, clock, sessions, settings.limits.in_force)
    sessions.report_to(scheduler)
    provenance = Provenance(store)
    reach = Reach(scheduler.applications, provenance)
    await HolderRecords(store, clock, scheduler.event_log.tell).load(sessions)
    artifacts = artifacts_of(settings.artifacts, images, store, provenance, scheduler, clock)
    try:
        enrolment = await _enrolment(settings, loaded.installation, store, scheduler, sessions)
        agents = Agents(enrolment, sessions, clock, agents_url(settings))
        metrics.read(
            scheduler,
            sessions,
            lambda: expiries_of(settings, enrolment),
            enrolment.expiries if enrolment is not None else dict,
        )
        app = make_app(
            scheduler=scheduler,
            store=store,
            images=images,
            sessions=sessions,
            clock=clock,
            agents=agents,
            guarded=guarded,
            authority=authority_of(settings, enrolment),
            signing=signing_of(settings.signatures),
            metrics=metrics,
            artifacts=artifacts,
            provenance=provenance,
            reach=reach,
            prices=PriceFile(settings.prices),
        )
        tls = tls_of(settings, enrolment)
        shown = enrolment.authority.shown if enrolment is not None else None
        server, grpc_port = await start_server(sessions, settings.grpc.listen, shown=shown)
        try:
            async with AsyncExitStack() as serving:
                most = connections_within(descriptors())
                await serving.enter_async_context(serve(app, host, port, most, tls))
                await serving.enter_async_context(renewing(settings, tls))
                if enrolment is not None:
                    await serving.enter_async_context(
                        _door(settings, enrolment, images, grpc_port, clock, reach, artifacts)
                    )
                if clock.warning:
                    log.warning("clock.set_back", text=clock.warning)
                    scheduler.note(Event("clock.set_back", clock.warning))
                log.info(
                    "controller.started",
                    http=settings.http.listen,
                    grpc=settings.grpc.listen,
                    agents=settings.agents.listen if enrolment is not None else "",
                    version=__version__,
                    accounts=settings.accounts,
                    tls=tls is not None,
                    pin=enrolment.authority.pin if enrolment is not None else "",
                )
                recalling = metrics.recall(opened, scheduler.applications())
                await _run_until_signal(scheduler, supervisor, metrics.lag.run(), recalling)
        finally:
            await stop_server(sessions, server)
    finally:
        await store.close()


async def _enrolment(
    settings: ControllerSettings,
    installation: str,
    store: Store,
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


def agents_url(settings: ControllerSettings) -> str:
    """Where agents reach this controller, as far as it knows."""
    host, port = split_address(settings.agents.listen, "agents.listen")
    name = next(iter(settings.tls.names.split()), host)
    return f"https://{join(socket.gethostname() if name in ('0.0.0.0', '::') else name, port)}"  # noqa: S104  # asked, not bound


def _door(
    settings: ControllerSettings,
    enrolment: Enrolment,
    images: ImageDirectory,
    grpc_port: int,
    clock: SteadyClock,
    reach: Reach,
    artifacts: Artifacts,
) -> AbstractAsyncContextManager[int]:
    host, port = split_address(settings.agents.listen, "agents.listen")
    door = make_door(enrolment, images, lambda: grpc_port, clock, reach.is_of_region, direct=artifacts.direct)
    return serve(
        door,
        host,
        port,
        connections_within(descriptors()),
        enrolment.authority.http_context(),
        "agents.listen",
    )


def address_of(settings: ControllerSettings) -> tuple[str, int]:
    """Where the API listens. Raises ValueError: beyond this machine only with TLS and accounts."""
    listen = settings.http.listen
    if settings.accounts and uses_tls(settings):
        return split_address(listen, "http.listen")
    try:
        return loopback_only(listen, "http.listen")
    except InsecureAddressError:
        port = split_address(listen, "http.listen")[1]
        raise InsecureAddressError(
            f"http.listen: {listen} is not a loopback address, and who reaches the API may do everything: "
            "give the controller accounts and TLS (--accounts, and the settings tls.enabled or "
            f"http.certificate and http.key), or use 127.0.0.1:{port} and an SSH tunnel "
            f"(ssh -L {port}:127.0.0.1:{port} HOST)"
        ) from None


def uses_tls(settings: ControllerSettings) -> bool:
    """Whether the API does: by files, or where people have accounts by the authority of the agents. Raises
    ValueError."""
    http = settings.http
    if (http.certificate is None) != (http.key is None):
        raise ValueError("http.certificate and http.key belong together: give both, or none")
    if http.certificate is not None and http.key is not None:
        context_of(http.certificate, http.key)
        return True
    return settings.accounts and settings.tls.enabled


def expiries_of(settings: ControllerSettings, enrolment: Enrolment | None) -> dict[str, float]:
    """When the controller's own certificates end, by what they are for."""
    found = enrolment.authority.expiries() if enrolment is not None else {}
    if settings.http.certificate is not None:
        found["http"] = expiry_of(settings.http.certificate)
    return found


def tls_of(settings: ControllerSettings, enrolment: Enrolment | None) -> ssl.SSLContext | None:
    """None: plaintext. Raises ValueError."""
    http = settings.http
    if http.certificate is not None and http.key is not None:
        return context_of(http.certificate, http.key)
    if enrolment is not None and uses_tls(settings):
        return enrolment.authority.http_context()
    return None


def authority_of(settings: ControllerSettings, enrolment: Enrolment | None) -> Callable[[], str]:
    """What people check the API's certificate with, where it is not one that every machine knows."""
    http = settings.http
    if http.authority is not None:
        text = http.authority.read_text()
        return lambda: text
    if http.certificate is None and enrolment is not None:
        return lambda: enrolment.authority.authorities
    return str


@asynccontextmanager
async def renewing(settings: ControllerSettings, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Takes renewed certificates while the block lasts."""
    http = settings.http
    if tls is None or http.certificate is None or http.key is None:
        yield
        return
    task = asyncio.create_task(keep_fresh(tls, http.certificate, http.key), name="certificates")
    try:
        yield
    finally:
        task.cancel()


async def guarded_by(
    settings: ControllerSettings, store: Store, installation: str, url: str, clock: SteadyClock
) -> Guarded | None:
    """What a controller with accounts knows callers by; the first start makes the first admin. Raises
    StoreError."""
    known = await load_accounts(store)
    if not settings.accounts:
        if known.tokens:
            text = "this store has accounts, and who reaches the API is asked for none: start with --accounts"
            log.warning("accounts.off", text=text)
        return None
    audit = await audit_of(store, installation, clock)
    tickets = Tickets(secrets.token_bytes(KEY_BYTES))
    accounts = Accounts(store, known, clock)
    logins = logins_of(settings.oidc, accounts, url, clock)
    guarded = Guarded(accounts, audit, tickets, Issuers(clock), logins=logins)
    if not known.tokens:
        tell_admin_token(settings.state, await new_admin(guarded.accounts, guarded.audit))
    return guarded


def logins_of(oidc: OidcSettings, accounts: Accounts, url: str, clock: SteadyClock) -> Logins | None:
    """How people log in with an issuer; None without one. Raises ValueError."""
    if not oidc.issuer:
        return None
    client = Client(oidc.issuer, oidc.client_id, " ".join(oidc.scopes), secret_in(oidc.client_secret_file))
    try:
        outbound = HttpOutbound(oidc.authority)
    except (OSError, ValueError) as error:
        raise ValueError(f"oidc.authority: {oidc.authority} is no certificate in PEM: {error}") from error
    return Logins(
        Provider(client, oidc.rules, Issuers(clock, outbound), outbound, clock),
        accounts,
        clock,
        seconds=oidc.expires_hours * 3600.0,
        redirect=f"{url}/v1/login/oidc/callback",
        loopback=oidc.loopback,
        has_device=oidc.device,
    )


def secret_in(file: Path | None) -> str:
    """Raises ValueError."""
    if file is None:
        return ""
    try:
        if file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
            raise ValueError(f"oidc.client_secret_file: others may read or change {file}; chmod 600 {file}")
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"oidc.client_secret_file: {file} can't be read: {error}") from error
    if not text:
        raise ValueError(f"oidc.client_secret_file: {file} is empty")
    return text


async def new_admin(accounts: Accounts, audit: Audit) -> str:
    """A token of the admin, written down."""
    entry = Entry(Instant(0.0), LOCAL_NAME, "local", "", "", "new admin token", outcome="done")
    await audit.add(entry)
    return await accounts.make_admin()


def tell_admin_token(state: Path, token: str) -> None:
    """On standard output; where that is the system's journal, which others may read, in a file."""
    if "JOURNAL_STREAM" not in os.environ:
        print(f"the admin's token, shown this once; repave login asks for it:\n{token}", flush=True)  # noqa: T201
        return
    path = state / "admin-token"
    files.replace(path, f"{token}\n".encode())
    log.warning("admin.token", text=f"it is in {path}; delete the file once repave login has asked for it")


async def make_admin_token(settings: ControllerSettings) -> None:
    """For an installation whose admins have lost theirs. Raises StoreError, while a controller runs too."""
    store = SqliteStore(settings.state / "controller.db")
    loaded = await store.open()
    try:
        clock = SteadyClock(loaded.last_event_at)
        accounts = Accounts(store, await load_accounts(store), clock)
        audit = await audit_of(store, loaded.installation, clock)
        tell_admin_token(settings.state, await new_admin(accounts, audit))
    finally:
        await store.close()


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


async def _run_until_signal(
    scheduler: Scheduler, supervisor: Supervisor, *beside: Coroutine[None, None, None]
) -> None:
    supervisor.tell(READY)
    work = asyncio.gather(scheduler.run(), supervisor.keep_alive(), *beside)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        supervisor.tell(STOPPING)
        log.info("controller.stopped")


def make_parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--config", type=Path, help=f"settings file (default {DEFAULT_FILE}, if it is there)")
    common.add_argument(
        "--new", action="store_true", help="begin an empty store though packages of a former one are there"
    )
    common.add_argument("--accounts", action="store_true", help="every request needs a token")
    parser = argparse.ArgumentParser(
        prog="repave-controller", description="Decides for repave.", parents=[common]
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("run", parents=[common], help="serve (the default)")
    commands.add_parser("show-config", parents=[common], help="print every setting and where it is from")
    commands.add_parser("admin-token", parents=[common], help="make a new admin's token")
    backup = commands.add_parser("backup", parents=[common], help="put all that it knows into one file")
    backup.add_argument("file", metavar="FILE", help="of mode 0600; -: standard output")
    backup.add_argument("--packages", action="store_true", help="the packages as well")
    back = commands.add_parser(
        "restore", parents=[common], help="put a backup in the place of the state directory"
    )
    back.add_argument("file", metavar="FILE", help="-: standard input")
    back.add_argument("--force", action="store_true", help="though the state directory is not empty")
    back.add_argument("--dry-run", action="store_true", help="only read it, and check every digest")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the process's exit code: 0 done, 1 could not start, 2 wrong settings."""
    chosen = make_parser().parse_args(arguments)
    named: Path | None = getattr(chosen, "config", None)
    file = named or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    try:
        settings, origins = load_settings(
            ControllerSettings, file, os.environ, PREFIX, {"accounts": getattr(chosen, "accounts", None)}
        )
    except SettingsError as error:
        print(f"repave-controller: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if chosen.command == "show-config":
        print(show_settings(settings, origins))  # noqa: T201
        return 0
    configure_logs(settings.logs, SteadyClock(Instant(0.0)))
    try:
        require_threads()
        _carry_out(chosen, settings)
    except (StoreError, BackupError, ValueError, OSError) as error:
        print(f"repave-controller: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except MemoryError:
        print("repave-controller: out of memory: allow this process more (ulimit -v)", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _carry_out(chosen: argparse.Namespace, settings: ControllerSettings) -> None:
    now = SteadyClock(Instant(0.0))
    match chosen.command:
        case "admin-token":
            finish(settings.state)
            asyncio.run(make_admin_token(settings))
        case "backup":
            told = take(settings.state, chosen.file, now(), with_packages=chosen.packages)
            print(told, file=sys.stderr)  # noqa: T201
        case "restore":
            trial, force = chosen.dry_run, chosen.force
            told = put_back(settings.state, chosen.file, now(), force=force, is_trial=trial)
            print(told, file=sys.stderr)  # noqa: T201
        case _:
            asyncio.run(run(settings, is_new=getattr(chosen, "new", False)))


if __name__ == "__main__":
    sys.exit(main())
