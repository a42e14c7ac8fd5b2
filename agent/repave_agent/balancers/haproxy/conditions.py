"""What HAProxy's configuration depends on besides the structure, and the names in it that are nobody's."""

from dataclasses import dataclass

ON_THE_WAY = "7d"
"""Between two workers of ours: the one that speaks to the host knows how long it may be silent."""
NO_ROUTE, NEWER, OTHER = "_no_route", "_newer", "_other"  # "_" is refused in names of groups
CLIENTS = "_clients"  # the table of their addresses
APPLICATIONS = "_applications"  # the table of those that share ports, with what each has under way


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a configuration depends on besides the structure."""

    map_path: str
    states_path: str  # of servers, read when it starts
    traffic_address: str
    redispatch: bool  # False shows every failure of a host to the client: for proofs, not for production
    threads: int
    connections_max: int
    connections_per_application_max: int
    old_seconds_max: int  # an old worker ends then, whatever it still has in flight
    inner_address: str  # where its newest worker takes what others pass on
    others_inner_address: str = ""  # the same of the HAProxy that shares its addresses; "": it is alone
    connections_per_client_max: int = 0  # 0: no limit
    header_seconds_max: float = 10.0
    certificates: str = ""  # the folder of those that fronts show
    lists: str = ""  # the folder of the files that say which of them clients are shown
    thumbprint: str = ""  # of the account at the ACME server; "": there is none
    user: str = ""  # whom the workers run as; "": the user that started them


def milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
