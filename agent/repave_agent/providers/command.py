"""What exactly is executed for a host: its environment, its argv, and the sandbox around it.

Values in, values out, but for the trial run of bubblewrap and the look at which programs exist.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from repave_agent.core.ports import HostSpec, RefusedError
from repave_agent.providers.syscalls import filter_for

Isolation = Literal["auto", "bwrap", "none"]
TRIAL_TIMEOUT_SECONDS = 10.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where every host looks for programs, whatever the agent's own PATH is; `host.env` may set another one."""
CONTROLS = (
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/dbus/system_bus_socket",
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/systemd/private",
)
"""Sockets by which root, whatever it may do itself, has others do it. No sandbox shows them."""
SYSTEM_FOLDERS = frozenset(
    map(Path, ("/", "/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr", "/var", "/var/lib"))  # noqa: S108  # names, nothing is written there
)
"""No sandbox is without them."""
PRIVILEGED_PORTS = range(1, 1024)
VARIABLE = re.compile(r"\$(?:\$|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\})")


def environment_of(
    spec: HostSpec, address: str, region: str, paths: Mapping[str, str] | None = None
) -> dict[str, str]:
    """All that a host's command finds in its environment, on every provider, but for its secrets; `paths`:
    variables that say where those are that are files. Raises RefusedError."""
    ours = {
        "HOST": address,
        **({"PORT": str(spec.port)} if spec.port else {}),
        "REPAVE_HOST": spec.name,
        "REPAVE_GROUP": spec.group,
        "REPAVE_APPLICATION": spec.application,
        "REPAVE_REGION": region,
        "REPAVE_DIGEST": spec.digest,
        **(paths or {}),
    }
    users = dict(spec.template.environment)
    for name in ours.keys() & users.keys():
        if users[name] != ours[name]:
            raise RefusedError(f"env: {name} is set by repave. Remove it from the spec.")
    for name, value in users.items():
        if not name or "=" in name or "\0" in name + value:
            raise RefusedError(f"env: {name!r} cannot be a variable (a '=' in its name, or a NUL character)")
    return {"PATH": SYSTEM_PATH, **users, **ours}


def substitute(run: tuple[str, ...], environment: Mapping[str, str]) -> list[str]:
    """Puts values in for `$NAME` and `${NAME}`; `$$` is one `$`. No shell: a value stays within its word."""

    def value(found: re.Match[str]) -> str:
        name = found["bare"] or found["braced"]
        if name is None:
            return "$"
        if name not in environment:
            known = ", ".join(sorted(environment))
            raise RefusedError(
                f"run: ${name} is not set. Known: {known}. Write $${name} for a plain ${name}."
            )
        return environment[name]

    return [VARIABLE.sub(value, word) for word in run]


def look_up(argv: list[str], application: Path, environment: Mapping[str, str]) -> list[str]:
    """argv with the program as an absolute path: from the package, else from PATH. Raises RefusedError."""
    if not argv or not argv[0]:
        raise RefusedError("run: there is no command. Name the program that serves, for example ./serve")
    program = Path(argv[0])
    inside = application / program
    if inside.is_file():  # an absolute program stays itself
        if not os.access(inside, os.X_OK):
            raise RefusedError(
                f"run: {argv[0]} is not executable. Do chmod +x on it and push the package again."
            )
        return [str(inside), *argv[1:]]
    found = None if "/" in argv[0] else shutil.which(argv[0], path=environment["PATH"])
    if found is None:
        raise RefusedError(f"run: {argv[0]!r} {_where_missing(argv[0], environment['PATH'])}")
    return [found, *argv[1:]]


def _where_missing(program: str, path: str) -> str:
    """With the remedy. machine.sh says the same."""
    if program.startswith("/"):
        return "is not on this machine. Correct host.run, or install it."
    if "/" in program:
        return "is not in the package. Correct host.run, or put it there."
    return (
        f"is neither in the package nor on the host's PATH ({path}). Put it into the package, install it "
        "there, or set env.PATH."
    )


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Bubblewrap as it works on this machine: read-only root, own /tmp, /dev, /proc and process ids, no
    capability, no way to get one (bwrap sets no_new_privs), and nothing of the agent's `state`.

    bwrap itself (the outer process) waits for process 1 of the new pid namespace (the inner one), and ends
    with the exit code of the command. The inner one has a session of its own, so that the command can be
    signalled without the outer one. The network is that of the machine, and so is the user: under root, files
    and sockets that only root may use stay within reach, but for CONTROLS.
    """

    program: tuple[str, ...]
    state: Path
    namespace: tuple[str, ...] = ()
    """Options for a user namespace of its own, in which no other can be made; as far as there is one."""
    filter: bytes = b""
    """Which system calls are not answered; b"" where the kernel can't be asked that."""
    private: tuple[Path, ...] = ()
    """Files and folders of the agent that no host sees; beside `state`."""

    def wrap(
        self,
        argv: list[str],
        application: Path,
        port: int,
        report_fd: int,
        filter_fds: tuple[int, ...],
        memory: Path | None = None,
    ) -> list[str]:
        """argv inside a new sandbox. bwrap writes the pid of its inner process to `report_fd`, as JSON."""
        options = self.options(application, port, filter_fds, memory)
        return [*options, "--info-fd", str(report_fd), "--", *argv]

    @contextmanager
    def opened(self) -> Iterator[tuple[int, ...]]:
        """What bwrap must inherit to read the filter from, once."""
        if not self.filter:
            yield ()
            return
        descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, self.filter)
            os.lseek(descriptor, 0, os.SEEK_SET)
            yield (descriptor,)
        finally:
            os.close(descriptor)

    def options(
        self,
        application: Path,
        port: int = 0,
        filter_fds: tuple[int, ...] = (),
        memory: Path | None = None,
    ) -> list[str]:
        """A port below 1024 needs the one capability for it, which no user namespace can give. `memory`: the
        folder with the host's own secrets; those of others are behind a /dev of its own."""
        namespace, added = self.namespace, list[str]()
        if port in PRIVILEGED_PORTS:
            namespace, added = (), ["--cap-add", "CAP_NET_BIND_SERVICE"]
        return [
            *self.program,
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),  # noqa: S108  # a fresh one
            *("--ro-bind", "/proc/sys", "/proc/sys"),
            *(word for path in filter(os.path.exists, CONTROLS) for word in ("--ro-bind", "/dev/null", path)),
            *(word for path in self.private for word in _hidden(path)),
            *("--tmpfs", str(self.state), "--ro-bind", str(application), str(application)),
            *(("--ro-bind", str(memory), str(memory)) if memory is not None else ()),
            *("--chdir", str(application), "--unshare-pid", "--new-session", *namespace),
            *("--cap-drop", "ALL", *added),
            *(word for each in filter_fds for word in ("--seccomp", str(each))),
        ]

    def trial(self, application: Path) -> str:
        """Why a sandbox cannot be made here; "" when one was just made and worked."""
        try:
            with self.opened() as fds:
                done = subprocess.run(
                    [*self.options(application, 0, fds), "--", "/bin/true"],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=TRIAL_TIMEOUT_SECONDS,
                    check=False,
                    pass_fds=fds,
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        words = done.stderr.decode(errors="replace").strip()
        return "" if done.returncode == 0 else words or f"exit code {done.returncode}"


SANDBOX_REMEDY = (
    "Install it (apt install bubblewrap), allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
)
NAMESPACES = (("--unshare-user", "--disable-userns"), ("--unshare-user",), ())
"""From the tightest on; kernels and versions of bubblewrap differ in what they have."""


def _hidden(path: Path) -> tuple[str, ...]:
    """A file with its folder, unless that is the system's: one that is put in its place would show again."""
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        return ()
    if folder == path or folder not in SYSTEM_FOLDERS:
        return ("--tmpfs", str(folder))
    return ("--ro-bind", "/dev/null", str(path)) if path.exists() else ()


def choose_sandbox(
    isolation: Isolation, state: Path, private: tuple[Path, ...] = ()
) -> tuple[Sandbox | None, str]:
    """The sandbox for all hosts, None for plain processes; and why none can be had though one is wanted.
    Blocks for trial runs; raises RefusedError."""
    if isolation == "none":
        return None, ""
    program = shutil.which("bwrap")
    problem = "bwrap is not installed"
    for filtered, namespace in product((filter_for(platform.machine()), b""), NAMESPACES if program else ()):
        sandbox = Sandbox((*_without_capabilities(), program or ""), state, namespace, filtered, private)
        problem = sandbox.trial(state)
        if not problem:
            return sandbox, ""
    if isolation == "auto":
        return None, f"{problem}. {SANDBOX_REMEDY}, or accept it with local.isolation: none"
    raise RefusedError(
        f"isolation is 'bwrap', which does not work here: {problem}. {SANDBOX_REMEDY}, or set isolation to "
        "'auto'."
    )


NO_CAPABILITIES = ("--inh-caps=-all", "--ambient-caps=-all")
"""Of setpriv."""


def _without_capabilities() -> tuple[str, ...]:
    """How to start bwrap, which refuses to run with what AmbientCapabilities= gives a unit's processes."""
    status = Path("/proc/self/status").read_text()
    (ambient,) = (line.split()[1] for line in status.splitlines() if line.startswith("CapAmb:"))
    return ("setpriv", *NO_CAPABILITIES, "--") if int(ambient, 16) else ()


def enter(
    sandbox: Sandbox,
    inner_pid: int,
    argv: list[str],
    application: Path,
    is_root: bool,
    filter_fds: tuple[int, ...] = (),
    memory: Path | None = None,
) -> list[str]:
    """argv inside the sandbox that is there, in the folder of its application, with no more rights than it.

    Only root can enter it (bwrap puts the user namespace that owns it out of reach of others), without the
    filter of calls: without root it is a new sandbox of the same kind, with the same files but for /tmp.
    """
    nsenter, setpriv = shutil.which("nsenter"), shutil.which("setpriv")
    if not is_root or not nsenter or not setpriv:
        return [*sandbox.options(application, 0, filter_fds, memory), "--", *argv]
    within = ("--target", str(inner_pid), "--mount", "--pid", "--wd", "--")
    without_rights = ("--no-new-privs", "--bounding-set=-all", *NO_CAPABILITIES)
    return [nsenter, *within, setpriv, *without_rights, "--", *argv]
