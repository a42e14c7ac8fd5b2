"""What PostgreSQL's errors mean to people: what is wrong, and what to do."""

import socket
import ssl

import asyncpg
from asyncpg.exceptions._base import DataError as ArgumentError

from repave_controller.core.ports import StoreError
from repave_controller.stores.postgresql.place import Place

FAULTS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    EOFError,
)
"""All that a call of the database may raise."""
OWN_FAULTS = (
    asyncpg.DataError,  # a zero byte
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,  # a key of many kilobytes
    ArgumentError,  # half a surrogate pair; an integer beyond 64 bits
)
"""Errors of one transaction, not of the database: the others of its batch are saved all the same."""
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InternalClientError,
    asyncpg.QueryCanceledError,
    OSError,
    TimeoutError,
    EOFError,
)
"""After which it isn't known whether what was sent has been done."""


def explain(error: BaseException, place: Place) -> StoreError:
    """For people; an error that was explained stays as it is."""
    return error if isinstance(error, StoreError) else StoreError(f"{place}: {_words(error)}")


def _words(error: BaseException) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not one that this machine knows: {error.verify_message}. Name its "
                "authority in store.url (?sslmode=verify-full&sslrootcert=FILE)."
            )
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}. See sslmode in store.url."
        case socket.gaierror():
            return f"the name of its host is not known here ({error.strerror}). Correct store.url."
        case ConnectionError() if "SSL" in str(error):
            return "it does no TLS. Set ssl = on there; or, on a network you trust, ?sslmode=disable."
        case ConnectionRefusedError():
            return "the connection was refused. Start PostgreSQL there, or correct store.url."
        case asyncpg.InvalidPasswordError():
            return "the password is wrong. Correct store.password_file."
        case asyncpg.InvalidAuthorizationSpecificationError():
            return (
                f"it lets this user in from here not at all: {_said(error)}. See its pg_hba.conf; a line "
                "there may ask for TLS (?sslmode=require in store.url)."
            )
        case asyncpg.InvalidCatalogNameError():
            return "there is no such database. Make it (createdb --owner USER NAME), or correct store.url."
        case asyncpg.TargetServerAttributeNotMatched() | asyncpg.ReadOnlySQLTransactionError():
            return (
                "it takes no writes: it is a standby, or was made read-only. Name the primary in store.url; "
                "several hosts may be given, host1,host2."
            )
        case asyncpg.InsufficientPrivilegeError():
            return (
                f"the user may not do this: {_said(error)}. Make the user the owner of the database "
                "(ALTER DATABASE NAME OWNER TO USER)."
            )
        case asyncpg.TooManyConnectionsError():
            return "it has no connection left. Raise its max_connections, or put PgBouncer before it."
        case asyncpg.DiskFullError():
            return "its disk is full; nothing of this was saved. Free some space there."
        case asyncpg.OutOfMemoryError():
            return "it is out of memory; nothing of this was saved."
        case asyncpg.LockNotAvailableError():
            return (
                "another session holds a lock on the store. If it lasts, end it there: see pg_stat_activity "
                "and pg_blocking_pids()."
            )
        case asyncpg.QueryCanceledError():
            return "it took too long to answer. See what it is busy with (pg_stat_activity), and its disk."
        case asyncpg.CannotConnectNowError():
            return f"it is starting or stopping: {_said(error)}. The controller tries again."
        case asyncpg.UndefinedTableError() | asyncpg.InvalidSchemaNameError():
            return "tables of the store are gone. Restore the database from a backup."
        case asyncpg.DataCorruptedError() | asyncpg.IndexCorruptedError():
            return f"the database is damaged: {_said(error)}. Restore it from a backup."
        case TimeoutError():
            return "it does not answer. See whether it runs and can be reached; the controller tries again."
        case asyncpg.UndefinedObjectError() | asyncpg.InvalidParameterValueError():  # after its question mark
            return f"{_said(error)}. Correct store.url."
        case asyncpg.ProtocolViolationError() | asyncpg.ClientConfigurationError():
            return f"{_said(error)}. See store.url."
        case asyncpg.PostgresConnectionError() | asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return f"the connection was lost: {_said(error)}. The controller tries again."
        case asyncpg.AdminShutdownError() | asyncpg.CrashShutdownError() | OSError() | EOFError():
            return f"the connection was lost: {_said(error)}. The controller tries again."
    return _said(error)


def _said(error: BaseException) -> str:
    """Only the first line: a detail may quote what was to be saved."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
