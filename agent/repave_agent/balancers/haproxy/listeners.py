"""Writes how clients come in: at each port one frontend of HAProxy, which chooses a front by what it matches,
and the backend by the one map entry of the front's application. Pure text.

All fronts of an application follow the same entry, so they switch in one step. An application with one plain
front has a frontend that is called after it; the others' are called after their port.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from repave_agent.balancers.haproxy.certificate_list import CertificateList, certificate_list
from repave_agent.balancers.haproxy.challenges import challenge_rules
from repave_agent.balancers.haproxy.conditions import (
    APPLICATIONS,
    CLIENTS,
    NEWER,
    NO_ROUTE,
    ON_THE_WAY,
    OTHER,
    Conditions,
    milliseconds,
)
from repave_agent.balancers.haproxy.fallback import fallback_rules
from repave_agent.balancers.haproxy.socket import FALLEN_BACK
from repave_agent.balancers.haproxy.split import baseline_rules, split_rules, tester_rules
from repave_agent.core.certificates import wanted_of
from repave_agent.core.ports import Frontend, Structure
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.fronts import Door, TrafficFront, doors
from repave_protos.protocol.values import BY_REQUEST, USUAL_TIMEOUTS, ApplicationName

HELLO_SECONDS = 5
"""How long a client may take to name the host that it wants, where that chooses the front."""
_HOST = "req.hdr(host),field(1,:),lower"
_IS_UNCLAIMED = "!{ var(txn.front) -m found }"


@dataclass(frozen=True, slots=True)
class Entry:
    """A front at one of its ports."""

    frontend: Frontend
    front: TrafficFront
    door: Door

    @property
    def redirects(self) -> bool:
        return self.door.port != self.front.port

    @property
    def name(self) -> str:
        return f"{self.frontend.application}.{self.front.name}"

    @property
    def suffix(self) -> str:
        """Of its backends: the main front's have none."""
        return "" if self.front == self.frontend.all_fronts[0] else f"_{self.front.name}"


def listeners(structure: Structure, conditions: Conditions) -> Iterator[str]:
    """Every frontend, and the backends by which one worker passes on to another."""
    for frontend in _by_name(structure):
        if not frontend.fronts:
            yield _plain(frontend, conditions)
        yield from _inner(frontend, conditions)
    for port, entries in _at_ports(structure):
        yield _listener(port, entries, conditions)
    if any(_is_of_several(entries) for _, entries in _at_ports(structure)):
        yield f"backend {APPLICATIONS}\n  stick-table type string len 128 size 10k store conn_cur\n"


def certificate_lists(structure: Structure, conditions: Conditions) -> list[CertificateList]:
    """The files by which a configuration for this structure says which certificates clients are shown."""
    found = (_list_of(entries, conditions) for _, entries in _at_ports(structure))
    return [each for each in found if each is not None]


def shown_certificates(structure: Structure) -> list[str]:
    """The files of certificates that clients may be shown, as `WantedCertificate.file` calls them. One that
    gives way to another front's is not among them."""
    chosen = (each for _, entries in _at_ports(structure) for each in _shown(entries))
    return list(dict.fromkeys(f"{entry.name}.pem" for entry in chosen))


def _by_name(structure: Structure) -> list[Frontend]:
    return sorted(structure.frontends, key=lambda each: each.application)


def _at_ports(structure: Structure) -> list[tuple[int, list[Entry]]]:
    """Which fronts are at each port, the one that matches most closely first."""
    shared: defaultdict[int, list[Entry]] = defaultdict(list)
    for frontend in _by_name(structure):
        for front in frontend.fronts:
            for door in doors(front):
                shared[door.port].append(Entry(frontend, front, door))
    return [(port, sorted(entries, key=_least_special)) for port, entries in sorted(shared.items())]


# ------------------------------------------------------------------------------------------------- one port


def _plain(frontend: Frontend, conditions: Conditions) -> str:
    front = frontend.all_fronts[0]
    entry = Entry(frontend, front, doors(front)[0])
    lines = [
        *_binds([entry], conditions),
        *_of_client(frontend.client_seconds),
        *_rules(entry, "", conditions),
    ]
    return _section(frontend.application, [*lines, f"default_backend {NO_ROUTE}"])


def _listener(port: int, entries: list[Entry], conditions: Conditions) -> str:
    is_tcp = entries[0].front.is_tcp
    lines = ["mode tcp", "no option idle-close-on-response"] if is_tcp else []
    lines += _binds(entries, conditions)
    lines += _of_client(max(each.frontend.client_seconds for each in entries))
    if entries[0].door.kind == "http" and conditions.thumbprint:
        lines += challenge_rules(conditions.thumbprint, _proven_here(entries))
    is_matched = any(each.front.matches for each in entries)
    if is_matched:
        lines += _matching(entries, entries[0].door.kind)
    if not is_tcp:
        lines.append(_forwarded(is_encrypted=entries[0].door.kind == "https"))
    for entry in entries:
        guard = f"{{ var(txn.front) -m str {entry.name} }}" if is_matched else ""
        if _is_of_several(entries) and not entry.redirects:
            lines += _limit(entry, guard, conditions)
        lines += _redirect(entry, guard) if entry.redirects else _rules(entry, guard, conditions)
    lines.sort(key=lambda line: line.startswith("use_backend "))  # HAProxy decides by them at the end
    return _section(f"_port_{port}", lines if is_tcp else [*lines, f"default_backend {NO_ROUTE}"])


def _is_of_several(entries: list[Entry]) -> bool:
    """Whether other applications share the port."""
    return len({each.frontend.application for each in entries}) > 1


def _limit(entry: Entry, guard: str, conditions: Conditions) -> list[str]:
    """At a shared port connections belong to nobody until they ask: what each application has under way is
    counted, and what is beyond its part turned away."""
    application, most = entry.frontend.application, conditions.connections_per_application_max
    is_full = f"{{ sc2_conn_cur gt {most} }}"
    if entry.front.is_tcp:
        return [
            f"tcp-request content track-sc2 str({application}) table {APPLICATIONS} if {guard}",
            f"tcp-request content reject if {is_full} {guard}",
        ]
    text = f'string "repave: {application} has {most} requests under way, as many as it may\\n"'
    return [
        f"http-request track-sc2 str({application}) table {APPLICATIONS} if {guard}",
        f"http-request return status 503 content-type text/plain {text} if {is_full} {guard}",
    ]


def _connections_max(entries: list[Entry], conditions: Conditions) -> int:
    """Of a port. At a shared one there is room beside any one application, and at other ports beside that.

    HAProxy takes 10,000, an application 7,500: a shared port 8,750.
    """
    of_one, of_all = conditions.connections_per_application_max, conditions.connections_max
    return of_one + (of_all - of_one) // 2 if _is_of_several(entries) else of_one


def _proven_here(entries: list[Entry]) -> list[str]:
    """The names of which an ACME server may come to this port to see whose they are: those for which an
    application asks by HTTP-01, and which are no other application's here."""
    names = (
        name
        for frontend in {each.frontend.application: each.frontend for each in entries}.values()
        for wanted in wanted_of([frontend])
        if wanted.reference.kind == "acme-http-01"
        for name in wanted.names
        if frontend.application in (_owners(name, entries) or (frontend.application,))
    )
    return list(dict.fromkeys(names))


def _owners(name: str, entries: list[Entry]) -> set[ApplicationName]:
    """Whose fronts match this host most closely, whatever the path; none: any application's."""
    hosts = {each.front.host for each in entries if each.front.host}
    wide = (each for each in hosts if each.startswith("*") and name.endswith(each[1:]))
    closest = name if name in hosts else max(wide, key=len, default="")
    return {each.frontend.application for each in entries if closest and each.front.host == closest}


def _forwarded(*, is_encrypted: bool) -> str:
    """Where TLS does not end here it may have ended before: what says so is kept, as by plain fronts."""
    set_header = "http-request set-header X-Forwarded-Proto"
    if is_encrypted:
        return f"{set_header} https"
    return f"{set_header} http unless {{ req.hdr(X-Forwarded-Proto) -m found }}"


def _section(name: str, lines: list[str]) -> str:
    return "\n  ".join((f"frontend {name}", *lines)) + "\n"


def _least_special(entry: Entry) -> tuple[bool, bool, int, int, str]:
    """What matches less comes first: a name before * and before any, a longer path before a shorter one."""
    host = entry.front.host
    return not host, host.startswith("*"), -len(host), -len(entry.front.path), entry.name


def _binds(entries: list[Entry], conditions: Conditions) -> list[str]:
    """To clients, and to other workers, which pass on what they have deciphered."""
    door = entries[0].door
    outer = ["maxconn", str(_connections_max(entries, conditions))]
    if door.kind in ("https", "tls"):
        outer += ["ssl", *_certificates(entries, conditions), "ssl-min-ver", "TLSv1.2"]
    if door.kind == "https":
        has_http2 = any(each.front.has_http2 for each in entries)
        outer += ["alpn", "h2,http/1.1" if has_http2 else "http/1.1"]
    outer += ["accept-proxy"] * door.accepts_proxy
    spoken = ["proto", "h2"] if door.kind == "h2c" else []
    lines = [
        " ".join(["bind", endpoint(conditions.traffic_address, door.port), *outer, *spoken]),
        " ".join(["bind", endpoint(conditions.inner_address, door.port), "accept-proxy", *spoken]),
    ]
    if most := conditions.connections_per_client_max:
        lines += [
            f"tcp-request connection accept if {{ dst {conditions.inner_address} }}",
            f"tcp-request connection track-sc1 src table {CLIENTS}",
            f"tcp-request connection reject if {{ sc1_conn_cur gt {most} }}",
        ]
    return lines


def _certificates(entries: list[Entry], conditions: Conditions) -> list[str]:
    """A front that matches no host shows its own to all. Where hosts are matched, each has that of its own
    front; a client that names none of them is shown no certificate, for each would be another's."""
    listed = _list_of(entries, conditions)
    if listed is None:
        return ["crt", _certificate_path(conditions, entries[0])]
    is_strict = all(each.front.host for each in entries)
    return ["crt-list", listed.path, *(["strict-sni"] * is_strict)]


def _list_of(entries: list[Entry], conditions: Conditions) -> CertificateList | None:
    """None where no certificate is chosen by name."""
    chosen = _shown(entries)
    if not any(each.front.host for each in chosen):
        return None
    files = {each.front.host: _certificate_path(conditions, each) for each in chosen}
    return certificate_list(conditions.lists, chosen[0].door.port, files)


def _shown(entries: list[Entry]) -> list[Entry]:
    """Whose certificates a port shows. Of several fronts that match one host it is that of the front which
    has all of it, or most."""
    chosen: dict[str, Entry] = {}
    for each in sorted(entries, key=lambda each: len(each.front.path)):
        if each.door.kind in ("https", "tls"):
            chosen.setdefault(each.front.host, each)
    return list(chosen.values())


def _certificate_path(conditions: Conditions, entry: Entry) -> str:
    """Where the certificate of a front is, for HAProxy to read: a file that is there and sound."""
    return f"{conditions.certificates}/{entry.name}.pem"


def _of_client(seconds: float) -> list[str]:
    is_usual = seconds == USUAL_TIMEOUTS.client_seconds
    return [] if is_usual else [f"timeout client {milliseconds(seconds)}"]


# ------------------------------------------------------------------------------------------------- matching


def _matching(entries: list[Entry], kind: str) -> list[str]:
    """Sets `txn.front` to the name of the entry that a request or connection is for."""
    if kind in ("tcp", "tls"):
        return _matching_connections(entries, kind)
    lines = []
    for entry in entries:
        host, path = entry.front.host, entry.front.path
        of_host = f" {{ {_HOST} {_hosts(host)} }}" if host else ""
        for of_path in (f" {{ path {path} }}", f" {{ path_beg {path}/ }}") if path else ("",):
            lines.append(
                f"http-request set-var(txn.front) str({entry.name}) if {_IS_UNCLAIMED}{of_host}{of_path}"
            )
    nothing = 'string "repave: no application has this address here\\n"'
    return [*lines, f"http-request return status 404 content-type text/plain {nothing} if {_IS_UNCLAIMED}"]


def _matching_connections(entries: list[Entry], kind: str) -> list[str]:
    """By the name in a client's TLS hello. Other workers, which have deciphered it, tell it by PROXY."""
    lines, names = [], ["req.ssl_sni"] if kind == "tcp" else ["ssl_fc_sni", "fc_pp_authority"]
    if kind == "tcp":
        lines = [
            f"tcp-request inspect-delay {HELLO_SECONDS}s",
            "tcp-request content reject if !{ req.ssl_hello_type 1 }",
        ]
    for entry in entries:
        for name in names:
            of_host = f"{{ {name},lower {_hosts(entry.front.host)} }}"
            lines.append(
                f"tcp-request content set-var(txn.front) str({entry.name}) if {_IS_UNCLAIMED} {of_host}"
            )
    return [*lines, f"tcp-request content reject if {_IS_UNCLAIMED}"]


def _hosts(host: str) -> str:
    return f"-m end {host[1:]}" if host.startswith("*") else f"-m str {host}"


def _redirect(entry: Entry, guard: str) -> list[str]:
    port = "" if entry.front.port == 443 else f":{entry.front.port}"
    to = f"http-request redirect location https://%[req.hdr(host),field(1,:)]{port}%[pathq] code"
    return [
        _guarded(f"{to} 301 if {{ method GET HEAD }}", guard),
        _guarded(f"{to} 308 if !{{ method GET HEAD }}", guard),
    ]


# ------------------------------------------------------------------------------------------------ the split


def _rules(entry: Entry, guard: str, conditions: Conditions) -> list[str]:
    """One lookup, one roll of 10,000: `second` is asked when the roll is below its basis points. What other
    workers pass on has been counted there. `guard`: what is so of this front's requests alone."""
    frontend, suffix = entry.frontend, entry.suffix
    is_tcp, application = entry.front.is_tcp, frontend.application
    split = BY_REQUEST if is_tcp else frontend.split
    has_spare = "{ var(txn.spare) -m len gt 0 }"
    lines = []
    if conditions.redispatch and not is_tcp:
        lines.append("http-request disable-l7-retry unless { method GET HEAD OPTIONS }")
    lines += [
        f"http-request set-var(txn.route) str({application}),map({conditions.map_path})",
        "http-request set-var(txn.first) var(txn.route),field(1,|)",
        "http-request set-var(txn.second) var(txn.route),field(2,|)",
        *split_rules(split),
        "http-request set-var(txn.margin) var(txn.route),field(3,|),sub(txn.roll)",
        *tester_rules(split, suffix, guard),
        "http-request set-var(txn.chosen) var(txn.first)",
        "http-request set-var(txn.chosen) var(txn.second) if { var(txn.margin) -m int gt 0 }",
        *baseline_rules(),
        *fallback_rules(application, FALLEN_BACK),
        *(_rules_without(suffix) if suffix else ()),
        # A worker that is being replaced sees no server up any more.
        f"http-request set-var(txn.chosen) str({NEWER}.{application}) if {{ stopping }} {has_spare}",
        f"use_backend %[var(txn.chosen)]{suffix} if {{ var(txn.route) -m found }}",
    ]
    lines = [_guarded(line, guard) for line in lines]
    return [line.replace("http-request ", "tcp-request content ", 1) for line in lines] if is_tcp else lines


def _rules_without(suffix: str) -> list[str]:
    """A group that lacks this front gets none of its requests, as long as the other one has it."""
    is_without = f"!{{ var(txn.chosen),concat({suffix}),nbsrv -m found }}"
    return [
        f"http-request set-var(txn.chosen) var(txn.{other}) if {is_without}" for other in ("first", "second")
    ]


def _guarded(rule: str, guard: str) -> str:
    """The rule where `guard` is so, too."""
    if not guard or guard in rule or rule.startswith("acl "):
        return rule
    if " unless " in rule:
        what, condition = rule.rsplit(" unless ", 1)
        return f"{what} if !{condition} {guard}"
    return f"{rule} {guard}" if " if " in rule else f"{rule} if {guard}"


# ------------------------------------------------------------------------------------- between two workers


def _inner(frontend: Frontend, conditions: Conditions) -> Iterator[str]:
    """By which a worker passes an application's requests on, each with its client's address.

    After a reload the old worker still owns idle client connections, and does not know newer groups: it
    passes what comes in on them to the newest one. And while a switch is under way one of two HAProxys passes
    all to the other: one map entry decides then, and no client sees the newer group and then the older.
    A program on this machine could forge a client's address there; as it could at the hosts themselves.
    """
    addresses = {NEWER: conditions.inner_address, OTHER: conditions.others_inner_address}
    for name, address in addresses.items():
        for front in frontend.all_fronts if address else ():
            entry = Entry(frontend, front, doors(front)[0])
            mode = "  mode tcp\n" if front.is_tcp else ""
            how = " proto h2" if front.protocol == "grpc" else ""
            if entry.door.kind == "tls" and front.host:
                how = " proxy-v2-options authority"
            yield f"""\
backend {name}.{frontend.application}{entry.suffix}
{mode}  timeout server {ON_THE_WAY}
  timeout tunnel {ON_THE_WAY}
  server {name} {endpoint(address, front.port)} send-proxy-v2{how}
"""
