"""What repave needs of an operator's HAProxy: `repave-agent balancer snippet` prints what to paste,
`repave-agent balancer check` checks that it is there."""

import json
from collections.abc import Mapping

from repave_agent.balancers.haproxy_runtime.balancer import RuntimeBalancer, build
from repave_agent.balancers.haproxy_runtime.fleets import BACKEND
from repave_agent.balancers.haproxy_runtime.options import COMMAND_USAGE, PROTOCOLS, HaproxyRuntimeOptions
from repave_agent.balancers.haproxy_runtime.snippet import (
    entrances,
    entrances_without_map,
    is_tcp,
    map_file,
    pools,
    slots,
)
from repave_agent.core.ports import BalancerError, Frontend
from repave_agent.kinds import CommandLine, Site
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import ApplicationName, Split

SLOTS = 6
"""For three applications with two groups each."""
TCP_SLOTS = 4
BY_WEIGHTS = (
    "haproxy_runtime.map is empty, so groups share by the weights of their servers: shares are whole "
    "percents, a switch moves one server after the other, and users and testers can't be told apart"
)
SOCKET_NEEDED = "# Into haproxy.cfg; global needs: stats socket PATH mode 660 level admin\n"
READ_TOO = """\
# Into {path}, for the agent to write servers in. HAProxy must read both: -f haproxy.cfg -f {path}
# (Debian's unit: EXTRAOPTS="-S /run/haproxy-master.sock -f {path}" in /etc/default/haproxy)

"""
LOST_AT_RELOADS = (
    "{lack}, so HAProxy loses servers and routes at each reload, and answers 503 until the agent has "
    "applied them again. To keep them, put the backends for repave into a file of their own, as "
    "`repave-agent balancer snippet` shows"
)


def balancer_command(options: HaproxyRuntimeOptions, site: Site, line: CommandLine) -> str:
    """Does what the words ask and returns what is to be shown. Raises BalancerError, RefusedError."""
    match list(line.words):
        case ["snippet", *applications] if applications:
            return _snippet(options, dict(map(_place, applications)))
        case ["check"]:
            return _check(build(options, site), line.output, has_map=bool(options.map))
        case _:
            raise BalancerError(f"balancer {' '.join(line.words)}: not understood. There is: {COMMAND_USAGE}")


def _snippet(options: HaproxyRuntimeOptions, places: Mapping[Frontend, str]) -> str:
    """`places`: with the backend that answers until repave does, where there is one."""
    frontends = list(places)
    # Each of a pair must start without the address that only one of them has at a time.
    bind = "*" if len(options.sockets) > 1 else options.traffic_address
    read_too = READ_TOO.format(path=options.backends) if options.backends else ""
    if not options.map:
        return f"{SOCKET_NEEDED}\n{entrances_without_map(frontends, bind)}\n{read_too}{pools(frontends)}"
    tcp = sum(map(is_tcp, frontends))
    room = slots(max(SLOTS, 2 * (len(frontends) - tcp)), max(TCP_SLOTS, 2 * tcp) if tcp else 0)
    others = {each.application: backend for each, backend in places.items() if backend}
    first = "".join(f"#   {line}\n" for line in map_file(frontends).splitlines())
    mapped = f"# Into {options.map}, which must be there:\n{first}"
    return f"{SOCKET_NEEDED}{mapped}\n{entrances(frontends, options.map, bind, others)}\n{read_too}{room}"


def _place(text: str) -> tuple[Frontend, str]:
    """`shop:80:else=old-shop`: until repave has a route for shop, the operator's backend old-shop answers."""
    place, sign, backend = text.partition(":else=")
    if sign and BACKEND.fullmatch(backend) is None:
        raise BalancerError(f"{text}: else= names a backend of HAProxy: letters, digits and _ . : - only")
    return _frontend(place), backend


def _frontend(text: str) -> Frontend:
    """`shop:80`, or `shop:80:cookie=uid` for a split by a cookie or header; `shop.admin:9000:tcp` for the
    front admin of shop."""
    name, _, rest = text.partition(":")
    port, *more = rest.split(":")
    protocol = more.pop(0) if more and more[0] in PROTOCOLS else "http"
    by, sign, mark = more.pop(0).partition("=") if more else ("request", "=", "")
    is_split = by != "request" or bool(mark)
    if not name or not port.isdecimal() or more or not sign or by not in ("request", "cookie", "header"):
        raise BalancerError(
            f"{text}: write APP:PORT, or APP:PORT:cookie=NAME, or APP:PORT:header=NAME; of another front "
            "APP.FRONT:PORT, and of one that is not http APP.FRONT:PORT:tcp or :grpc"
        )
    if protocol == "tcp" and is_split:
        raise BalancerError(f"{text}: tcp has neither cookies nor headers: leave that out")
    split = Split(by, mark)  # type: ignore[arg-type]
    front = TrafficFront("main", int(port), protocol)  # type: ignore[arg-type]
    return Frontend(ApplicationName(name), front.port, split, fronts=(front,) if protocol != "http" else ())


def _check(balancer: RuntimeBalancer, output: str, *, has_map: bool) -> str:
    problems, lack = balancer.check(), balancer.kept.lack
    notes = [BY_WEIGHTS] * (not has_map) + [LOST_AT_RELOADS.format(lack=lack)] * bool(lack)
    if output == "json":
        return json.dumps({"problems": problems, "notes": notes}, indent=2)
    if problems:
        raise BalancerError("\n".join(problems))
    return "\n".join(("all that repave needs is there", *notes))
