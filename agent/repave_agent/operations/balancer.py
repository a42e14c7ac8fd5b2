"""What repave asks of an operator whose HAProxy it shall work on: `repave-agent balancer snippet` prints what
to paste, `repave-agent balancer check` looks whether it is there."""

import json
from collections.abc import Sequence

from repave_agent.balancers.haproxy_runtime.snippet import map_file, snippet, snippet_without_map
from repave_agent.core.ports import BalancerError, Frontend
from repave_agent.registry import operators_haproxy
from repave_agent.settings import AgentSettings
from repave_protos.protocol.values import ApplicationName, Split

USAGE = "snippet APP:PORT... | check"
SLOTS = 6
"""For three applications with two groups each."""
BY_WEIGHTS = (
    "haproxy_runtime.map is empty, so groups share by the weights of their servers: shares are whole "
    "percents, a switch moves one server after the other, and users and testers can't be told apart"
)
SOCKET_NEEDED = "# Into haproxy.cfg; global needs: stats socket PATH mode 660 level admin\n"


def balancer_command(settings: AgentSettings, words: Sequence[str], output: str) -> str:
    """Does what the words ask and returns what is to be shown. Raises BalancerError, RefusedError."""
    if settings.balancer != "haproxy_runtime":
        raise BalancerError(
            f"balancer is {settings.balancer}: only haproxy_runtime is an operator's own; set balancer to it"
        )
    match list(words):
        case ["snippet", *applications] if applications:
            return _snippet(settings, [_frontend(each) for each in applications])
        case ["check"]:
            return _check(settings, output)
        case _:
            raise BalancerError(f"balancer {' '.join(words)}: not understood. There is: {USAGE}")


def _snippet(settings: AgentSettings, frontends: Sequence[Frontend]) -> str:
    chosen = settings.haproxy_runtime
    if not chosen.map:
        return f"{SOCKET_NEEDED}\n{snippet_without_map(frontends, chosen.traffic_address)}"
    text = snippet(frontends, max(SLOTS, 2 * len(frontends)), chosen.map, chosen.traffic_address)
    first = "".join(f"#   {line}\n" for line in map_file(frontends).splitlines())
    return f"{SOCKET_NEEDED}# Into {chosen.map}, which must be there:\n{first}\n{text}"


def _frontend(text: str) -> Frontend:
    """`shop:80`, or `shop:80:cookie=uid` for a split by a cookie or header."""
    name, _, rest = text.partition(":")
    port, _, told = rest.partition(":")
    by, sign, mark = told.partition("=") if told else ("request", "=", "")
    if not name or not port.isdecimal() or not sign or by not in ("request", "cookie", "header"):
        raise BalancerError(f"{text}: write APP:PORT, or APP:PORT:cookie=NAME, or APP:PORT:header=NAME")
    return Frontend(ApplicationName(name), int(port), Split(by, mark))  # type: ignore[arg-type]


def _check(settings: AgentSettings, output: str) -> str:
    problems = operators_haproxy(settings).check()
    if output == "json":
        return json.dumps({"problems": problems}, indent=2)
    if problems:
        raise BalancerError("\n".join(problems))
    if not settings.haproxy_runtime.map:
        return f"all that repave needs is there. {BY_WEIGHTS}"
    return "all that repave needs is there"
