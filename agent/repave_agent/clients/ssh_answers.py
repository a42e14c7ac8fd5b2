"""What is sent to a machine's login shell, and what of all that then comes back is the answer. Pure.

A login shell may print what it likes (a date, a motd), before and after: only what stands between two marks
is an answer, and the exit code stands in the second one. Without the first mark the command has not run at
all; what came instead says why.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

_SAID_CHARACTERS_MAX = 300
_MARKED = (
    'mark() { printf "\\n%s%s%s\\n" "$1" "$2" "$3"; printf "\\n%s%s%s\\n" "$1" "$2" "$3" >&2; }; '
    'a=$1 b=$2; shift 2; mark "$a" "$b" ""; "$@"; c=$?; mark "$b" "$a" " $c"; exit "$c"'
)
"""The halves of the marks arrive apart: neither an echo of the command nor a trace of it holds a mark."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command."""

    code: int
    out: str
    error: str


@dataclass(frozen=True, slots=True)
class Read:
    """`ran` is None when the answer never began, or broke off; `noise`: all that is no answer."""

    ran: Ran | None
    noise: str
    has_begun: bool = True


def enveloped(words: Sequence[str], nonce: str, *, sudo: bool) -> str:
    """The command line that runs exactly these words between marks made of `nonce`, which is used once."""
    wrapped = ["sh", "-c", _MARKED, "sh", *_halves(nonce), *words]
    return shlex.join(["sudo", "-n", "--", *wrapped] if sudo else wrapped)


def read(nonce: str, out: str, error: str) -> Read:
    """Finds the answer in what a session has printed."""
    outs, errors = _between(nonce, out), _between(nonce, error)
    noise = "\n".join(filter(None, (outs.noise, errors.noise)))
    for half in _halves(nonce):
        noise = noise.replace(half, "")  # an echo of the command is the same each time
    if outs.code is None or errors.code is None:
        return Read(None, noise, outs.has_begun)
    return Read(Ran(outs.code, outs.text, errors.text), noise)


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    noise: str
    code: int | None
    has_begun: bool


def _between(nonce: str, printed: str) -> _Part:
    first, second = _halves(nonce)
    before, begun, rest = printed.partition(f"\n{first}{second}\n")
    if not begun:
        return _Part("", printed.strip(), None, has_begun=False)
    end = re.search(rf"\n{second}{first} (\d+)\n", rest)
    if end is None:
        return _Part(rest, before.strip(), None, has_begun=True)
    noise = f"{before.strip()}\n{rest[end.end() :].strip()}".strip()
    return _Part(rest[: end.start()], noise, int(end[1]), has_begun=True)


def _halves(nonce: str) -> tuple[str, str]:
    return f"repave-{nonce[: len(nonce) // 2]}", nonce[len(nonce) // 2 :]


# ----------------------------------------------------------------------------- why no answer has begun


def why_unanswered(user: str, code: int | None, said: str) -> str:
    """Why the command did not run, for people, with the remedy. `said`: all that was printed instead."""
    said = " ".join(said.split())[:_SAID_CHARACTERS_MAX]
    if found := re.search(r"login as the user \W*([\w-]+)\W* rather than", said, re.IGNORECASE):
        return (
            f"its image lets no {user} in ({said!r}). Set user to {found[1]}, in the inventory or in "
            "ssh_pool.user: repave becomes root there by sudo"
        )
    if "currently not available" in said or (code and not said):
        return (
            f"the login shell of {user} runs no commands (nologin or false). Give it another one, as by "
            f"chsh -s /bin/sh {user}, or set another user"
        )
    if "sudo" in said:
        return _why_no_sudo(user, said)
    if re.search(r"password (has )?expired|password change required", said, re.IGNORECASE):
        return f"the password of {user} has expired, and it must log in to set a new one ({said!r})"
    return (
        f"another command than the agent's ran there and said {said!r}. Is there a forced command "
        f"(command= in authorized_keys of {user}, ForceCommand in sshd_config)? Remove it for this key"
    )


def _why_no_sudo(user: str, said: str) -> str:
    if "tty" in said:
        return f"sudo wants a terminal there ({said!r}): remove requiretty for {user} from its sudoers"
    if "not found" in said or "Unknown command" in said:
        return (
            f"{user} is not root and there is no sudo. Install it, set user to root, or set ssh_pool.sudo to "
            f"false where {user} may do all that is needed"
        )
    return (
        f"{user} may not use sudo without a password ({said!r}). Write to a file in /etc/sudoers.d there: "
        f"{user} ALL=(ALL) NOPASSWD: ALL"
    )
