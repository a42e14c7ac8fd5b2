"""Cookies of a browser that has logged in, and what its writes must show besides.

A page of another origin can make a browser send cookies, but can neither read an answer nor set the header.
"""

import hashlib
import hmac

from aiohttp import web

from repave_controller.api.web.problems import Problem

SESSION = "__Host-repave-session"
LOGIN = "__Host-repave-login"
"""Binds a log-in under way to the browser that began it."""
HEADER = "X-Repave-CSRF"
SAFE_METHODS = ("GET", "HEAD")
COOKIE_LENGTH_MAX = 300


def session_of(request: web.Request) -> str:
    """The session that the browser shows; "" if none."""
    shown = request.cookies.get(SESSION, "")
    return shown if len(shown) <= COOKIE_LENGTH_MAX else ""


def give(response: web.StreamResponse, name: str, value: str, seconds: float) -> None:
    """Only this origin, only over TLS, and no script can read it (`__Host-`: RFC 6265bis, 4.1.3.2)."""
    response.set_cookie(
        name, value, max_age=int(seconds), path="/", secure=True, httponly=True, samesite="Lax"
    )


def take(response: web.StreamResponse, name: str) -> None:
    response.del_cookie(name, path="/", secure=True, httponly=True, samesite="Lax")


def csrf_of(session: str) -> str:
    """What a page of ours sends with each write; whoami tells it. It says nothing of the session."""
    return hashlib.sha256(f"csrf {session}".encode()).hexdigest()


def check_write(request: web.Request, session: str) -> None:
    """Raises Problem unless a page of this origin sends it. An Origin that is given is ours: that was checked
    before."""
    if request.method in SAFE_METHODS:
        return
    if request.headers.get("Origin") is None:
        raise Problem(
            403, "foreign-origin", "a browser's session changes things from this origin's pages only"
        )
    if not hmac.compare_digest(request.headers.get(HEADER, "").encode(), csrf_of(session).encode()):
        raise Problem(403, "csrf", f"{HEADER}: expected what whoami gives as csrf")
