"""Who may call the API: accounts, log-ins, and the first admin of an installation."""

import os
import secrets
import stat
from pathlib import Path

import structlog

from repave_controller.api.web.access import Guarded
from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import Store
from repave_controller.runtime.clock import SteadyClock
from repave_controller.security.accounts import Accounts
from repave_controller.security.audit import Audit, Entry, audit_of
from repave_controller.security.issuers import Issuers
from repave_controller.security.logins import Logins
from repave_controller.security.outbound import HttpOutbound
from repave_controller.security.principals import LOCAL_NAME
from repave_controller.security.provider import Client, Provider
from repave_controller.security.records import load_accounts
from repave_controller.security.tickets import KEY_BYTES, Tickets
from repave_controller.security.under_way import UnderWay
from repave_controller.serving.opening import open_store
from repave_controller.settings import ControllerSettings, OidcSettings
from repave_protos.daemon import files

log = structlog.get_logger()


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
    under_way = UnderWay(store, clock)
    await under_way.load()
    logins = logins_of(settings.oidc, accounts, under_way, url, clock)
    guarded = Guarded(accounts, audit, tickets, Issuers(clock), logins=logins)
    if not known.tokens:
        tell_admin_token(settings.state, await new_admin(guarded.accounts, guarded.audit))
    return guarded


def logins_of(
    oidc: OidcSettings, accounts: Accounts, under_way: UnderWay, url: str, clock: SteadyClock
) -> Logins | None:
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
        under_way,
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
    opened = await open_store(settings)
    store, loaded = opened.store, opened.loaded
    try:
        clock = SteadyClock(loaded.last_event_at)
        accounts = Accounts(store, await load_accounts(store), clock)
        audit = await audit_of(store, loaded.installation, clock)
        tell_admin_token(settings.state, await new_admin(accounts, audit))
    finally:
        await store.close()
