"""What people read when a command is refused: what is wrong, with its facts, and how to go on."""

from collections.abc import Mapping, Sequence

from repave_controller.core.domain.instants import Instant, show
from repave_controller.core.domain.reasons import Kind, Refusal
from repave_controller.wording.phrases import Template, listed, percent, some, ways, who

NAME_SHOWN_MAX = 40


def _ambiguous_host(host: str, regions: Sequence[str], silent: Sequence[str]) -> str:
    text = f"{', '.join(regions)} {'each have' if len(regions) > 1 else 'has'} a host called {host}"
    text += f", {', '.join(silent)} can't be asked" if silent else ""
    return f"{text}; say which one is meant: --region {regions[0]}"


def _freeze_over(ended_at: Instant, zone: str) -> str:
    return f"this freeze was over at {show(ended_at, zone)}; choose a time to come as its end"


def _gate_left(application: str, gate: str, gates: Sequence[str]) -> str:
    return f"the rollout of {application} does not wait at {gate} now; it waits at: {_listed(gates)}"


def _listed(gates: Sequence[str]) -> str:
    return ", ".join(gates) or "no gate"


def _unknown_guard(name: str, guards: Sequence[str], known: Sequence[str]) -> str:
    stand = f"those that stand now: {', '.join(guards)}" if guards else "none stands in the way now"
    return f"no guard is called {_quoted(name)}; {stand}; there are: {', '.join(known)}"


def _quoted(name: str) -> str:
    return f"{name[:NAME_SHOWN_MAX]!a}"


def _plan_changed(again: str, plan: str, changes: Sequence[str]) -> str:
    what = "the spec, the package or the application has changed since"
    if changes:
        what = f"changed since: {'; '.join(changes)}"
    return f"plan {plan} does not hold any more: {what}; look at {again} again"


def _moved(
    again: str,
    application: str,
    expected: str,
    generation: str,
    rollout: int,
    seen_rollout: int,
    version: str,
    phase: str,
    paused_by: str,
) -> str:
    if seen_rollout < 0:
        return (
            f"If-Match: expected a generation of {application} in quotes, as {again} -o json has it, "
            f"not {expected[:NAME_SHOWN_MAX]}"
        )
    now = f"rollout {rollout} (of {version}) is {phase}" if rollout else "it was never released"
    now += f", paused by {paused_by}" if paused_by else ""
    since = "it has gone on" if seen_rollout == rollout else f"rollout {seen_rollout} was the newest then"
    return (
        f"{application} has changed since it was looked at: {now}; {since}. Nothing was done: look at it "
        f"again ({again}); it is at generation {generation} now"
    )


def _regions_disagree(recover: str, application: str, votes: Sequence[str]) -> str:
    return f"{application}: the regions do not agree on who serves: {'; '.join(votes)}; choose one: {recover}"


def _role_missing(roles: Sequence[str]) -> str:
    flags = " ".join(f"--role {each}" for each in roles)
    return f"this waits for the role {', '.join(roles)}; say so with {flags}"


def _last_in_dns(anyway: str, application: str, region: str, others: Sequence[str]) -> str:
    rest = (
        f"{listed(others)} {'is' if len(others) == 1 else 'are'} not in it" if others else "it has no other"
    )
    text = f"{region} is the last region of {application} in DNS, for {rest}: clients would find none"
    return f"{text}; {anyway} does it all the same"


def _no_room(*commands: str, lacks: str) -> str:
    ways = ["raise the quota", "add machines", *(f"end a group that is kept: {each}" for each in commands)]
    return f"{lacks}; {', or '.join(ways)}; --force tries all the same"


def _only_switches(regions: Sequence[str], balancers: Sequence[str], weight_bp: int) -> str:
    balancer = f"the balancer of {', '.join(regions)}"
    balancer += f" ({' and '.join(balancers)})" if balancers else ""
    return (
        f"strategy: {balancer} only switches: a group gets all of the traffic there or "
        f"none, not {percent(weight_bp)}; use blue_green, or have repave's HAProxy split it in front of the "
        'same hosts: balancer = "haproxy" in the agent\'s settings'
    )


def _no_baselines(regions: Sequence[str], balancers: Sequence[str]) -> str:
    balancer = f"the balancer of {', '.join(regions)}"
    balancer += f" ({' and '.join(balancers)})" if balancers else ""
    return (
        f"strategy: analyse: baseline: {balancer} splits the traffic in two, and a fresh baseline needs a "
        "third share; use baseline: current, or repave's HAProxy; an agent from before there were baselines "
        "is to be upgraded"
    )


_SIGN = (
    "sign it with minisign -Sm PACKAGE, or as an identity with cosign sign-blob --bundle "
    "PACKAGE.sigstore.json PACKAGE, and release it with that file beside it, or with --signature FILE"
)


def _signature_refused(application: str, keys: Sequence[str], why: str) -> str:
    return (
        f"the package's signature does not count: {why}; packages of {application} must be signed with "
        f"{' or '.join(keys)}; {_SIGN}"
    )


def _unknown_application(name: str, known: Sequence[str]) -> str:
    there = f"there are: {', '.join(known)}" if known else "nothing has been released yet"
    return f"no application is called {name}; {there}"


def _unknown_member(team: str, name: str, members: Sequence[str]) -> str:
    return f"{_quoted(name)} is not in the team {team}; in it are: {', '.join(members) or 'none'}"


def _unknown_role(name: str, role: str, applications: str, has: Sequence[str]) -> str:
    return f"{name} has not the role {role} for {applications}; it has: {', '.join(has) or 'none'}"


def _unknown_freeze(name: str, known: Sequence[str]) -> str:
    return f"no freeze is called {name[:NAME_SHOWN_MAX]!a}; there are: {', '.join(known) or 'none'}"


def _unknown_group(application: str, group: str, regions: Sequence[str], votes: Sequence[str]) -> str:
    where = ", ".join(regions) or "any region that has traffic"
    return (
        f"{application}: --serving {group}: it has no hosts in {where}; now: {'; '.join(votes) or 'no group'}"
    )


def _unknown_host(group: str, host: str, known: Sequence[str]) -> str:
    there = f"it has: {some(known)}" if known else "it has none"
    return f"{group} has no host called {host}; {there}"


def _unknown_host_group(hosts: str, host: str, group: str, known: Sequence[str]) -> str:
    there = f"there are: {some(known)}" if known else "there is none yet"
    return f"{host}: no server group is called {group}; {there}; {hosts} lists hosts"


def _unknown_region(regions: Sequence[str], known: Sequence[str]) -> str:
    there = f"known are: {', '.join(known)}" if known else "no agent has connected yet"
    return f"regions: no agent has ever spoken for {', '.join(regions)}; {there}"


def _unknown_region_asked(region: str, known: Sequence[str]) -> str:
    return f"no region is called {_quoted(region)} here; there are: {', '.join(known) or 'none'}"


def _unknown_group_asked(group: str, known: Sequence[str]) -> str:
    there = some(known) if known else "none"
    return f"no server group is called {_quoted(group)}; there are: {there}"


def _not_serving_in(application: str, region: str, known: Sequence[str]) -> str:
    return f"{application} does not serve in {region}; it does in: {', '.join(known) or 'none'}"


def _already_back(
    *to: str, application: str, serving: Sequence[str], regions: Sequence[str], choices: Sequence[str]
) -> str:
    text = f"{application} has gone back already: {', '.join(serving)} serves again in {listed(regions)}"
    if not choices:
        return f"{text}, and no other group is kept; release another version"
    there = f"there are: {', '.join(choices)}"
    return f"{text}; say where it is to go now: {to[0]} ({there})" if to else f"{text}; {there}"


def _unhealthy_target(
    force: str,
    group: str,
    region: str,
    healthy: int,
    hosts: int,
    needed: int,
    serving: str,
    serving_healthy: int,
) -> str:
    return (
        f"{group} has {healthy} healthy hosts of {hosts} in {region}, a release would need {needed}; "
        f"{serving}, which serves, has {serving_healthy}; to go back all the same: {force}"
    )


TEXTS: Mapping[Kind, Template] = {
    Refusal.ALL_PASSED: "the rollout of {application} may pass all gates and waits already; {0} says more",
    Refusal.AMBIGUOUS_QUEUED: "several queued releases of {application} are {name}; give a number: {queued}",
    Refusal.ALREADY_BACK: _already_back,
    Refusal.ADOPTED_OTHERWISE: (
        lambda delete, application, group, differences: (
            f"{application} was adopted as {group} with other hosts: {', '.join(differences)}; to adopt "
            f"these, forget that one first, which touches no host: {delete}"
        )
    ),
    Refusal.ADOPTED_HOST: (
        "{host} is of {group}, which was adopted: repave can't make another one like it; the next release "
        "does without it"
    ),
    Refusal.ADOPTED_GROUP: (
        "{group} was adopted: repave can't make hosts like those that it has; release a version first"
    ),
    Refusal.ADOPTED_GONE: (
        "{group} was adopted, and {region} has none of its hosts any more: repave can't make them again; "
        "name the regions that still have some with --region"
    ),
    Refusal.AGENTS_DO_NOT_ADOPT: "the agents of {regions} can't adopt hosts: upgrade them",
    Refusal.AGENTS_NOT_ENROLLED: (
        "this controller speaks plaintext, on loopback only, and so enrols no agents: start it with "
        "tls.enabled = true"
    ),
    Refusal.AUTHORITY_OF_SEVERAL: (
        "other controllers share this one's store, and would not have the new authority: let all read one "
        "from files (tls.ca, tls.ca_key), and rotate it there"
    ),
    Refusal.AUTHORITY_IS_OPERATORS: (
        "the authority is the operator's (tls.ca): put a new certificate behind the first one in that file, "
        "and before it, with its key, when every agent has renewed"
    ),
    Refusal.JOIN_TOKEN_UNKNOWN: "this join token is not known here; make one for this controller: {0}",
    Refusal.JOIN_TOKEN_USED: (
        "this join token of {region} was used {ago} s ago, from {address}; make another one: {0}; if that "
        "was not your machine: {1}"
    ),
    Refusal.JOIN_TOKEN_EXPIRED: "this join token of {region} expired {ago} s ago; make another one: {0}",
    Refusal.REGION_NAME: (
        "{region} is no name for a region: expected words of a-z and 0-9 with hyphens between, such as eu-1, "
        "at most 48 characters"
    ),
    Refusal.ROTATING: (
        "a rotation is under way, and is over in {hours} h, when every agent has renewed; if the key of the "
        "authority was stolen: {0}"
    ),
    Refusal.TOO_MANY_TOKENS: (
        "there are {limit} join tokens, the limit; each is forgotten a day after its end"
    ),
    Refusal.UNKNOWN_AGENT: lambda command, name, known: (
        f"no agent that could be revoked is called {_quoted(name)}; there are: "
        f"{', '.join(known) or 'none'}; {command} shows them all"
    ),
    Refusal.AMBIGUOUS_HOST: _ambiguous_host,
    Refusal.FIRST_STEP: lambda *commands: f"no region that moves has been given traffic yet{ways(commands)}",
    Refusal.FREEZE_OVER: _freeze_over,
    Refusal.FRONTEND_PORT_CHANGED: (
        "traffic.port: clients reach {application} on port {port}; a release can't move them to {wanted}; "
        "keep the port, or release under another app name"
    ),
    Refusal.FRONT_TURNED: (
        "traffic.fronts: {front} of {application} would change between tcp and http while both groups share "
        "it; give the new one another name and port"
    ),
    Refusal.WORKER_TO_SERVE: (
        "traffic: {application} is a worker, which takes no requests, and no release can turn it into an "
        "application that does: release that under another app name"
    ),
    Refusal.SERVED_TO_WORK: (
        "traffic: {application} has clients, and no release can turn it into a worker, which takes no "
        "requests: release that under another app name"
    ),
    Refusal.LEFT_OTHERWISE: (
        "{group} does not serve, and is not gone from {regions} yet, where no other traffic than its own "
        "can come in beside it: release again once it is gone; {0} says what is left"
    ),
    Refusal.GATE_LEFT: _gate_left,
    Refusal.GROUP_IN_ROLLOUT: "{group} is part of the rollout of {application} that runs; {0} ends that",
    Refusal.GROUP_SERVES: (
        "{group} serves in {regions}; release or roll back to another group first, or end all of it: {0}"
    ),
    Refusal.BEING_DELETED: (
        "{application} is being deleted, and {regions} has yet to hear of it; release it again once it is "
        "gone: {0} says what is left"
    ),
    Refusal.GROUP_FAILED: (
        "{group} failed in {regions} and is only kept to be looked at: release its version again, or end it "
        "first: {0}"
    ),
    Refusal.GROUP_FAILED_AT_TAINT: (
        "{group} failed and is kept as it is to be looked at: {host} is not replaced; to end the group: {0}"
    ),
    Refusal.HAS_RELEASES: (
        "{application} has been released ({groups}): only an application that was never released can be "
        "adopted"
    ),
    Refusal.HOST_ADOPTED_ALREADY: "{host} in {region} was adopted for {other}: a host is one application's",
    Refusal.FLEET_HOST_TWICE: "{region}: {hosts} is named twice: each host once",
    Refusal.FLEET_NAMED_TWICE: "the fleet of {regions} is named twice: one source for each region",
    Refusal.FLEET_NOT_FOUND: "{region}: its fleet can't be found: {why}",
    Refusal.FLEET_OF_OTHER_REGION: "{regions}: the spec has no such region; it has {known}",
    Refusal.FLEET_SILENT: (
        "{region}: none of its {hosts} hosts passes the spec's probe: {why}; correct health, or the hosts"
    ),
    Refusal.FLEET_OF_WORKERS: (
        "traffic: none: a fleet is adopted so that its clients can be moved, and workers have none; release "
        "the new hosts, and stop the old ones once these work"
    ),
    Refusal.FLEET_WITH_COMMAND: (
        "health.command: no command can be run in hosts that were there before: write health.http or "
        "health.tcp"
    ),
    Refusal.HELD: lambda *commands, reason: f"repave holds it itself: {reason}{ways(commands)}",
    Refusal.HOSTS_GONE: (
        lambda *commands, region: f"hosts of the old group have gone in {region}{ways(commands)}"
    ),
    Refusal.OTHER_CONTROLLERS: (
        "other controllers decide for applications too: stop them until what regions run is adopted, and "
        "then start them again (repave controllers shows them)"
    ),
    Refusal.KEY_REUSED: "this idempotency key was used for a different request; use a new key",
    Refusal.IN_DNS: "{name} leads clients to {region}: take it out of DNS first: {0}",
    Refusal.IN_DNS_UNTIL: (
        "{region} left DNS less than {seconds} s ago, and resolvers may still lead clients there: wait"
    ),
    Refusal.LAST_IN_DNS: _last_in_dns,
    Refusal.LAST_REGION: "{application} serves only in {region}: to end it altogether: {0}",
    Refusal.NO_OBJECTION: (
        lambda *commands, application: f"nothing of {application} waits for objections now{ways(commands)}"
    ),
    Refusal.NO_GATE: (
        "nothing of {application} waits for approval or for time: what it waits for has to happen; {0} says "
        "what"
    ),
    Refusal.NO_GATE_BUT_TIME: "nothing waits for approval, only for time; {0} ends that",
    Refusal.NOT_HELD: "the rollout of {application} is not held; {0} says what it waits for",
    Refusal.NO_JOBS: "no rollout of {application} that runs has jobs",
    Refusal.UNKNOWN_JOB: lambda application, job, known: (
        f"the rollout of {application} has no job {_quoted(job)}; it has {', '.join(known)}"
    ),
    Refusal.JOB_NOT_OPEN: "job {job} waits for nobody: it is {state}; {0} says what is waited for",
    Refusal.JOB_MAY_RUN: "job {job} is not over yet: wait for it, or end the release: {0}",
    Refusal.JOB_UNFIT: "job {job} is {state} as it is: it can be run again or taken as done; see {0}",
    Refusal.NOT_PAUSED: "the rollout of {application} is not paused",
    Refusal.NOT_PAUSED_BUT_GATED: "the rollout of {application} is not paused; it waits for approval: {0}",
    Refusal.NOTHING_RUNNING: "no rollout of {application} is running; nothing to {verb}",
    Refusal.NOTHING_TO_ABORT: (
        lambda *commands, application: f"no rollout of {application} is running{ways(commands)}"
    ),
    Refusal.NOTHING_TO_REPLACE: (
        "{group} is the first release of {application} and has the traffic already: there is no older group "
        "to go back to; --queue releases this after it"
    ),
    Refusal.NOTHING_TO_RENEW: "no group serves {application}; release it first",
    Refusal.NO_RECORD: (
        "the agent of {region} keeps no record of {application} in DNS: set [dns] in its settings, as "
        "docs/dns.md shows"
    ),
    Refusal.NO_ROOM: _no_room,
    Refusal.MISFIT: "{misfits}",
    Refusal.STEPS_DONT_FIT: "{text}",
    Refusal.TOO_MANY_HOSTS: "{group} would have {text}",
    Refusal.SIZE_OUT_OF_BOUNDS: (
        "{region}: {hosts} hosts are not within the bounds of its spec, {least} to {most}: ask for a number "
        "within them, or release a spec with other bounds (regions.size)"
    ),
    Refusal.NO_OLDER_GROUP: "no older group of {application} is kept; release the older version again",
    Refusal.NO_OLDER_GROUP_OF_NAME: ("no older group of {application} is called {name}; there are: {groups}"),
    Refusal.NO_OLDER_GROUP_IN_REGION: ("nothing served in {regions} before; --to names what shall: {groups}"),
    Refusal.SERVES_ALREADY: "{name} serves {application} already in {regions}",
    Refusal.FIRST_RELEASE_SERVES: (
        "{group} is the first release of {application} and has the traffic already: there is no older group "
        "to go back to; release a better version"
    ),
    Refusal.NO_STEP_BACK: "no group served before: there is none to give traffic back to",
    Refusal.NO_WAY_BACK_IN_REGION: "no group served in {region} before: there is no way back",
    Refusal.OVERRIDDEN: "the guard {rule} is overridden already; {0} says what it waits for",
    Refusal.PAUSED: lambda *commands: f"it is paused{ways(commands)}",
    Refusal.PAUSED_ALREADY: (
        lambda *commands, by, reason: f"it is paused already, by {who(by, reason)}{ways(commands)}"
    ),
    Refusal.PLAN_CHANGED: _plan_changed,
    Refusal.MOVED: _moved,
    Refusal.NO_WAY_IN: "traffic.port: {regions}: {lack}",
    Refusal.NO_BASELINES: _no_baselines,
    Refusal.NO_BASELINE_OF_ADOPTED: (
        "{group} was adopted, so no fresh hosts of it can be made to compare with: leave baseline out of the "
        "first release's analysis; it is compared with {group} itself then"
    ),
    Refusal.ONLY_SWITCHES: _only_switches,
    Refusal.PORT_NOT_SHARED: "traffic.fronts: port {port} is that of {other} in {regions}: {why}",
    Refusal.PORT_TAKEN: "traffic.port: {port} is taken by {other} in {regions}; choose another port",
    Refusal.PROMISE: lambda promises: "; ".join(promises),
    Refusal.QUEUE_EMPTY: "no release of {application} waits in the queue",
    Refusal.QUEUE_GOES_ON: (
        lambda *commands, application: (
            f"the queue of {application} does not stand still: it goes on after what runs{ways(commands)}"
        )
    ),
    Refusal.QUEUE_FIRST_REPLACES: (
        "release {number} ({version}) replaces the rollout that goes back, and so is the first of the queue"
    ),
    Refusal.QUEUE_FULL: "{limit} releases of {application} are queued; that is the limit",
    Refusal.REASON_MISSING: "an override needs a reason: --reason",
    Refusal.RECOVERY_CHANGED: "what the regions run has changed since; look again: {0}",
    Refusal.REGION_AHEAD: "{region} is ahead of this controller's store: {why}; adopt it with: {0}",
    Refusal.REGION_DROPPED: (
        "{group} serves in {regions}, which this spec does not name: a release does not take an application "
        "out of a region; put the region back under regions, or leave it first: {0}"
    ),
    Refusal.REGION_CONNECTED: (
        "the agent of {region} is connected: --lost is for a region that will never be heard again; stop the "
        "agent, or leave --lost out"
    ),
    Refusal.REGION_UNREACHABLE: (lambda host, reasons: f"{host} can't be looked for: {'; '.join(reasons)}"),
    Refusal.REGIONS_DISAGREE: _regions_disagree,
    Refusal.REGIONS_DISAGREE_ON_GROUP: (
        "{group} is not the same in {regions}: its package or configuration differs in {others}; give one of "
        "these regions up (repave-agent clean there), then: {0}"
    ),
    Refusal.REGIONS_DISAGREE_ON_PORT: "{application}: clients reach it on different ports: {ports}",
    Refusal.RETIRING_GROUP: "{group} is being destroyed: {host} goes with it",
    Refusal.ROLE_MISSING: _role_missing,
    Refusal.OWN_RELEASE: (
        lambda by: (
            f"{by} released this, and its approval is another person's; "
            "approve: {distinct: false} in the spec of a release lets the same person do both"
        )
    ),
    Refusal.ROLLOUT_RUNNING: (
        lambda *commands, running: (
            f"{running} is being rolled out{ways(commands)}; --queue releases this after it, "
            "--replace at once"
        )
    ),
    Refusal.ROLLBACK_RUNNING: (
        lambda *commands, group: (
            f"a rollback to {group} runs, and is not replaced{ways(commands)}; --queue releases this after it"
        )
    ),
    Refusal.ROLLOUT_RUNNING_AT_ROLLBACK: (
        lambda *commands, running: (
            f"{running} is being rolled out; rollback --to and --region wait for its end{ways(commands)}"
        )
    ),
    Refusal.ROLLOUT_RUNNING_AT_DELETION: "a rollout of {application} runs; wait for its end, or: {0}",
    Refusal.ROLLOUT_RUNNING_AT_RENEWAL: (
        "a rollout of {application} runs, and makes fresh hosts by itself; wait for it: {0}"
    ),
    Refusal.SIGNATURE_MISSING: (
        lambda application, keys: (
            f"packages of {application} must be signed with {' or '.join(keys)}, and this one has no "
            f"signature; {_SIGN}"
        )
    ),
    Refusal.SIGNATURE_UNREADABLE: _signature_refused,
    Refusal.SIGNATURE_OF_OTHER_KEY: _signature_refused,
    Refusal.SIGNATURE_WRONG: _signature_refused,
    Refusal.AGENTS_DO_NOT_VERIFY: (
        "packages of {application} must be signed, and the agents of {regions} are too old to look at "
        "signatures; upgrade them first"
    ),
    Refusal.AGENTS_DO_NOT_VERIFY_BUNDLES: (
        "the package of {application} is signed with sigstore, and the agents of {regions} can't verify its "
        "bundle; upgrade them first, with the extra: pip install 'repave[sigstore]'"
    ),
    Refusal.ARTIFACT_BUCKET_UNKNOWN: (
        "s3://{bucket}: this controller's settings have no such bucket for {application}; an operator adds "
        "it to artifacts.s3"
    ),
    Refusal.ARTIFACT_CHANGED: (
        "{uri} is another package than when {version} was fetched first: sha256 {expected} then, {found} "
        "now; give what is new a version of its own"
    ),
    Refusal.ARTIFACT_OTHER: (
        "{uri} is not the package that was asked for: expected sha256 {expected}, got {found}"
    ),
    Refusal.ARTIFACT_CREDENTIAL: (
        "{uri}: {why}; an operator corrects it (artifacts in the controller's settings)"
    ),
    Refusal.ARTIFACT_DENIED: (
        lambda uri, why: (
            f"{why}; an operator gives the controller a credential (artifacts.credentials, "
            "artifacts.s3), or one that may read this"
        )
    ),
    Refusal.ARTIFACT_NOT_FOUND: (
        lambda uri, why: f"{why}; check artifact.uri and the version, and that CI has stored it"
    ),
    Refusal.ARTIFACT_PRIVATE: (
        lambda uri, why: (
            f"{why}; if packages shall come from there, an operator allows it: artifacts.allow in "
            "the controller's settings"
        )
    ),
    Refusal.ARTIFACT_REDIRECT: (lambda uri, why: f"{why}; name the place itself in artifact.uri"),
    Refusal.ARTIFACT_TLS: (
        lambda uri, why: (
            f"{why}; of a private authority, artifacts.authority in the controller's settings names "
            "its certificate"
        )
    ),
    Refusal.ARTIFACT_TOO_LARGE: (lambda uri, why: f"{why}, which is the limit"),
    Refusal.ARTIFACT_TOO_SLOW: (
        lambda uri, why: f"{why}; release again, or raise artifacts.seconds in the controller's settings"
    ),
    Refusal.ARTIFACT_UNREACHABLE: (lambda uri, why: f"{why}; release again once it answers"),
    Refusal.TOO_MANY_FETCHES: (
        lambda most: f"{most} packages are being fetched, which is the most; release again when one is there"
    ),
    Refusal.TOO_MANY_FREEZES: "there are {limit} freezes, the limit; lift one of them",
    Refusal.TOO_MANY_TAINTED: (
        "{limit} hosts of {application} are tainted already; that is the limit; to replace them all: {0}"
    ),
    Refusal.UNDOING: "the rollout of {application} is going back already; wait for its end",
    Refusal.UNHEALTHY_TARGET: _unhealthy_target,
    Refusal.UNKNOWN_APPLICATION: _unknown_application,
    Refusal.UNKNOWN_APPLICATION_DELETED: "{name} was deleted at {at} by {by}; {0} has what it was",
    Refusal.UNKNOWN_APPLICATION_AHEAD: (
        "no application is called {name}; {regions} runs it: this store was restored or lost; adopt it "
        "with: {0}"
    ),
    Refusal.UNKNOWN_FREEZE: _unknown_freeze,
    Refusal.UNKNOWN_MEMBER: _unknown_member,
    Refusal.UNKNOWN_ROLE: _unknown_role,
    Refusal.UNKNOWN_TOKEN: lambda id: f"no token has the id {_quoted(id)}; repave tokens list shows them",
    Refusal.UNKNOWN_TRUST: lambda id: f"no trust has the id {_quoted(id)}; repave tokens trusts shows them",
    Refusal.UNKNOWN_PERSON: (
        lambda name: f"no person {_quoted(name)} has logged in; repave people list shows them"
    ),
    Refusal.NO_PROMOTION: (
        "nothing is proposed for {application} now; repave promotions list shows what was"
    ),
    Refusal.UNKNOWN_HOOK: lambda name: (
        f"no hook is called {_quoted(name)}; the controller's settings name them: [hooks.NAME]"
    ),
    Refusal.UNKNOWN_DELIVERY: lambda hook, id: (
        f"hook {hook} has no delivery {_quoted(id)}; repave hooks deliveries {hook} shows them"
    ),
    Refusal.DELIVERY_WITHOUT_VERSION: (
        "delivery {id} of hook {hook} led to no version ({why}); let its sender send it anew"
    ),
    Refusal.UNKNOWN_NOTICE_TARGET: lambda name, known: (
        f"no target of notices is called {_quoted(name)}; the controller's settings have: "
        f"{', '.join(known) or 'none'}"
    ),
    Refusal.OTHER_ACCOUNT: (
        lambda name: (
            f"{name} was another account of the issuer when it logged in here before; if the name "
            f"now belongs to a new person, an admin forgets the former one: repave people end {name}"
        )
    ),
    Refusal.NO_ROLE: (
        lambda name: (
            f"you are {name}, and have no role here; an admin gives one: repave roles grant {name} "
            "viewer, or maps a group of the issuer to a team (oidc.teams)"
        )
    ),
    Refusal.SPENT: "this job's token was used before; it is good for one log-in",
    Refusal.LAST_ADMIN: (
        lambda: "then no admin with a valid token would be left; give role and token to another one first"
    ),
    Refusal.TOO_MANY: lambda what, most: f"there are {most} {what}, which is the most; take some away",
    Refusal.UNKNOWN_GATE: (
        lambda name, gates: f"the rollout has no gate {_quoted(name)}; it waits at: {_listed(gates)}"
    ),
    Refusal.UNKNOWN_GUARD: _unknown_guard,
    Refusal.UNKNOWN_GROUP: "a region has a group that repave did not make: {error}",
    Refusal.UNKNOWN_GROUP_SERVING: _unknown_group,
    Refusal.UNKNOWN_SERVER_GROUP: lambda application, name, known: (
        f"{application} has no group {_quoted(name)}; there are: {', '.join(known) or 'none'}"
    ),
    Refusal.UNKNOWN_SERVER_GROUP_BY_VERSION: "several groups have the version {name}: {groups}; name one",
    Refusal.UNKNOWN_GROUP_REGION: "{group} is not in {region}; it is in: {known}",
    Refusal.UNKNOWN_HOST: _unknown_host,
    Refusal.UNKNOWN_HOST_GROUP: _unknown_host_group,
    Refusal.UNKNOWN_HOST_REGION: "{group} has no hosts in {region}; it is in: {known}",
    Refusal.UNKNOWN_HOST_ENDING: "{host} in {region} is being ended already",
    Refusal.UNKNOWN_QUEUED: (
        "no queued release of {application} has the number or version {name}; there are: {queued}"
    ),
    Refusal.UNKNOWN_IMAGE: "no package {digest} is stored here; {0} adds one",
    Refusal.UNKNOWN_GROUP_ASKED: _unknown_group_asked,
    Refusal.UNKNOWN_REGION_ASKED: _unknown_region_asked,
    Refusal.UNKNOWN_REGION: _unknown_region,
    Refusal.UNKNOWN_REGION_OF_ROLLOUT: "the rollout does not go to {region}; it goes to: {known}",
    Refusal.UNKNOWN_REGION_OF_SERVICE: _not_serving_in,
}
