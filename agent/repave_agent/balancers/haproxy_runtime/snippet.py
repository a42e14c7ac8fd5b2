"""What an operator pastes into the configuration of an HAProxy of their own, so that repave can work on it
through the runtime socket alone. Pure text.

Slots are backends without servers, for any group of any application. A frontend looks its route up in the
map, which names slots instead of groups: `first|second|basis points of second|testers|spare`, then
`|baseline|its basis points`, the last four where there are any. Keys that begin with "_" are repave's marks.
Without a map each application has one backend, its pool, for all of its groups. A front of tcp has slots, or
a pool, of `mode tcp`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from repave_agent.balancers.haproxy.fallback import counting_backend, fallback_rules
from repave_agent.balancers.haproxy.split import baseline_rules, split_rules, tester_rules
from repave_agent.core.ports import Frontend
from repave_protos.protocol.values import ApplicationName

SLOT = "repave-slot-"
FALLEN_BACK = "repave-fallen-back"
NO_ROUTE = "repave-no-route"
OWNER_KEY = "_owner"
SPLIT_KEY = "_split."
PORT_KEY = "_port."
BASELINES_KEY = "_baselines"
POOL = "repave-pool-"
OWNER_MARK = "_owner."


def entrances(
    frontends: Sequence[Frontend],
    map_path: str,
    bind: str = "*",
    others: Mapping[ApplicationName, str] = MappingProxyType({}),
) -> str:
    """Frontends that go by the map. `others`: which backend of the operator answers for an application until
    repave does. The socket stays the operator's: it needs `level admin`."""
    parts = (_frontend(each, map_path, bind, others.get(each.application, NO_ROUTE)) for each in frontends)
    return "\n".join((*parts, _no_route(map_path), counting_backend(FALLEN_BACK)))


def slots(count: int, tcp_count: int = 0) -> str:
    """Backends for groups, those of TCP last."""
    numbers = range(1, count + tcp_count + 1)
    return "\n".join(_backend(f"{SLOT}{number}", is_tcp=number > count) for number in numbers)


def map_file(frontends: Sequence[Frontend]) -> str:
    """What stands in the map file at first: where each application's clients come in, and how their requests
    are told apart, and that a baseline can have its share."""
    each_frontend = "".join(
        f"{PORT_KEY}{each.application} {each.port}\n{SPLIT_KEY}{each.application} {way_text(each)}\n"
        for each in frontends
    )
    return f"{each_frontend}{BASELINES_KEY} yes\n"


def entrances_without_map(frontends: Sequence[Frontend], bind: str = "*") -> str:
    """Frontends of pools, for shares by weights alone."""
    return "\n".join(_frontend_of_pool(frontend, bind) for frontend in frontends)


def pools(frontends: Sequence[Frontend]) -> str:
    """The backend of each application."""
    return "\n".join(_backend(f"{POOL}{each.application}", is_tcp=is_tcp(each)) for each in frontends)


def is_tcp(frontend: Frontend) -> bool:
    return frontend.all_fronts[0].is_tcp


def way_text(frontend: Frontend) -> str:
    """What is spoken, and the split, as one word: what the snippet was printed for."""
    split, protocol = frontend.split, frontend.all_fronts[0].protocol
    if protocol == "tcp":
        return protocol
    testers = f"{split.tester_by}:{split.tester_name}={split.tester_value}" if split.tester_by else "-"
    return f"{split.by}:{split.name},{testers}" + (f",{protocol}" if protocol != "http" else "")


def _frontend(frontend: Frontend, map_path: str, bind: str, otherwise: str) -> str:
    rules = [
        f"http-request set-var(txn.route) str({frontend.application}),map({map_path})",
        "http-request set-var(txn.first) var(txn.route),field(1,|)",
        "http-request set-var(txn.second) var(txn.route),field(2,|)",
        *split_rules(frontend.split),
        "http-request set-var(txn.margin) var(txn.route),field(3,|),sub(txn.roll)",
        *tester_rules(frontend.split, "", ""),
        "http-request set-var(txn.chosen) var(txn.first)",
        "http-request set-var(txn.chosen) var(txn.second) if { var(txn.margin) -m int gt 0 }",
        *baseline_rules(),
        *fallback_rules(frontend.application, FALLEN_BACK),
        "use_backend %[var(txn.chosen)] if { var(txn.route) -m found }",
    ]
    if is_tcp(frontend):
        rules = [rule.replace("http-request ", "tcp-request content ", 1) for rule in rules]
    if otherwise != NO_ROUTE or not is_tcp(frontend):  # a connection that nothing answers is closed
        rules.append(f"default_backend {otherwise}")
    return "\n  ".join((f"frontend {frontend.application}", *_way_in(frontend, bind), *rules)) + "\n"


def _way_in(frontend: Frontend, bind: str) -> list[str]:
    """The last line but the mode is how TLS would be ended here."""
    place, files = f"bind {bind}:{frontend.port}", f"# bind {bind}:443 ssl crt /etc/haproxy/certs/"
    match frontend.all_fronts[0].protocol:
        case "tcp":
            return [place, f"{files}   # TLS", "mode tcp"]
        case "grpc":
            return [f"{place} proto h2", f"{files} alpn h2   # TLS", "mode http"]
        case _:
            return [place, f"{files} alpn h2,http/1.1   # HTTPS", "mode http"]


def _frontend_of_pool(frontend: Frontend, bind: str) -> str:
    name = frontend.application
    lines = [*_way_in(frontend, bind), f"default_backend {POOL}{name}"]
    return "\n  ".join((f"frontend {name}", *lines)) + "\n"


def _no_route(map_path: str) -> str:
    return f"""\
backend {NO_ROUTE}
  mode http
  http-request set-var(txn.route) str(-),map({map_path})
  http-request return status 503 content-type text/plain string "repave: no release takes traffic here yet\\n"
"""


def _backend(name: str, *, is_tcp: bool) -> str:
    if is_tcp:
        return f"backend {name}\n  mode tcp\n  balance roundrobin\n"
    return f"backend {name}\n  mode http\n  balance roundrobin\n  option http-server-close\n"
