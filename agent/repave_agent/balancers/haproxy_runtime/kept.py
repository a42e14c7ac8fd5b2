"""What an operator's HAProxy reads when it starts, kept as it shall run: the servers of slots or pools in a
file of their own, and the routes in the file of the map. So it serves at once after a reload or restart, and
while the agent is away.

Only the server lines of repave's backends and the map's entries without "_" are repave's there. The rest of
both files is the operator's; who the owner is, is not kept: each process is asked anew.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from repave_agent.balancers.haproxy_runtime.layout import CHECKS, Layout, Wanted, host_at
from repave_protos.daemon import files

SECTIONS = re.compile(
    r"(global|defaults|frontend|backend|listen|peers|resolvers|mailers|userlist|cache|program|http-errors"
    r"|ring|log-forward|log-profile|fcgi-app|crt-store|traces|acme)\b"
)


class KeptFiles:
    """Those on this machine. Where the operator has made no file for backends, nothing is kept."""

    def __init__(self, backends: str, map_path: str, layout: Layout) -> None:
        self._backends = Path(backends) if backends else None
        self._map = Path(map_path) if map_path else None
        self._layout = layout
        self.trouble = ""  # why they are not as they should be

    @property
    def lack(self) -> str:
        """Why a reload loses everything for a while; "" when it does not."""
        if self._backends is None:
            return "haproxy_runtime.backends is empty"
        return "" if self._backends.exists() else f"{self._backends} is not there"

    def keep(self, wanted: Wanted) -> None:
        """Blocks; writes only what differs. A failure leaves what was there and is told in `trouble`."""
        self.trouble = ""
        if self._backends is None or self.lack:
            return
        servers = servers_of(wanted, self._layout)
        self._replace(self._backends, lambda text: with_servers(text, servers, self._layout))
        if self._map is not None:
            self._replace(self._map, lambda text: with_routes(text, self._layout.entries(wanted)))

    def _replace(self, path: Path, change: Callable[[str], str]) -> None:
        path = path.resolve()
        try:
            before = path.read_text()
            after = change(before)
            if after != before:
                files.replace(path, after.encode(), like=path.stat())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            self.trouble = f"{path} cannot be written, so a reload would bring back old routes: {reason}"


def servers_of(wanted: Wanted, layout: Layout) -> dict[str, list[str]]:
    """The server lines of each backend."""
    lines: dict[str, list[str]] = defaultdict(list)
    weights, words = layout.weights(wanted), wanted.words
    for backend, server in wanted.servers():
        weight = f" weight {weights.get((backend, server.host), 0)}" if weights else ""
        state = "" if server.is_enabled else " disabled"
        lines[backend].append(f"  server {host_at(server)}{words.get(backend, '')} {CHECKS}{weight}{state}")
    return lines


def with_servers(text: str, servers: Mapping[str, Sequence[str]], layout: Layout) -> str:
    """The configuration with just these servers in repave's backends, first in each."""
    lines, is_ours = [], False
    for line in text.splitlines():
        words = line.split()
        if SECTIONS.match(line.lstrip()):
            is_ours = words[0] == "backend" and len(words) > 1 and layout.is_ours(words[1])
            lines += [line, *(servers.get(words[1], ()) if is_ours else ())]
        elif not (is_ours and words[:1] == ["server"]):
            lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def with_routes(text: str, entries: Mapping[str, str]) -> str:
    """The map with just these routes, last."""
    lines = [line for line in text.splitlines() if line.startswith(("_", "#")) or not line.strip()]
    return "".join(f"{line}\n" for line in (*lines, *(f"{key} {entries[key]}" for key in sorted(entries))))
