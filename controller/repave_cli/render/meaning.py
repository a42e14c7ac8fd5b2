"""What may a wrong word have meant? First by a table of the words of others, then by how near it is to a
command. What changes something is offered for such words, or for one slip of a finger; never because it is
merely like the wrong word, as "release" is like "delete"."""

from collections.abc import Iterable, Mapping
from typing import Final

OF_OTHERS: Final[Mapping[str, Mapping[str, str]]] = {
    "": {
        "deploy": "release",
        "apply": "release",
        "run": "release",
        "ship": "release",
        "update": "release",
        "upgrade": "release",
        "rollout": "status or release",
        "create": "init or release",
        "new": "init",
        "start": "dev or release",
        "up": "dev or release",
        "undo": "rollback",
        "revert": "rollback",
        "back": "rollback or step-back",
        "cancel": "abort",
        "kill": "abort or taint",
        "terminate": "taint or delete",
        "hold": "pause",
        "suspend": "pause",
        "continue": "resume",
        "unpause": "resume",
        "proceed": "promote",
        "approve": "promote",
        "reject": "object or abort",
        "skip": "promote --skip",
        "override": "promote --override",
        "size": "scale",
        "resize": "scale",
        "restart": "renew",
        "reboot": "renew",
        "recycle": "renew",
        "rotate": "renew",
        "replace": "release --replace or taint",
        "evict": "taint",
        "cordon": "taint",
        "delete": "delete",
        "remove": "delete, groups retire or regions remove",
        "rm": "delete, groups retire or regions remove",
        "destroy": "delete or groups retire",
        "uninstall": "delete",
        "down": "delete",
        "purge": "delete",
        "retire": "groups retire",
        "list": "apps",
        "ls": "apps",
        "applications": "apps",
        "app": "apps",
        "services": "apps",
        "ps": "hosts",
        "instances": "hosts",
        "nodes": "hosts",
        "servers": "hosts",
        "host": "hosts",
        "group": "groups",
        "region": "regions",
        "get": "status",
        "show": "status",
        "describe": "status",
        "info": "status",
        "inspect": "status",
        "releases": "history",
        "rollouts": "history",
        "log": "logs or events",
        "tail": "logs --follow",
        "event": "events",
        "follow": "watch",
        "monitor": "watch",
        "top": "watch",
        "explain": "why",
        "diff": "plan",
        "preview": "plan",
        "dry-run": "plan",
        "lint": "validate",
        "check": "validate or doctor",
        "verify": "validate or audit verify",
        "test": "simulate",
        "rehearse": "simulate",
        "blame": "suspects",
        "culprit": "suspects",
        "health": "doctor",
        "ping": "doctor",
        "push": "image push",
        "upload": "image push",
        "build": "image push",
        "images": "image list",
        "packages": "image list",
        "artifacts": "image list",
        "bake": "image bake",
        "machines": "pool list",
        "recover": "controller recover",
        "restore": "controller recover",
        "gc": "orphans",
        "leaks": "orphans",
        "age": "ages",
        "drift": "ages",
        "freezes": "freeze list",
        "lock": "freeze --all",
        "unlock": "unfreeze --all",
        "thaw": "unfreeze",
        "signin": "login",
        "auth": "login",
        "signout": "logout",
        "who": "whoami",
        "me": "whoami",
        "token": "tokens list",
        "user": "people list",
        "users": "people list",
        "role": "roles list",
        "team": "roles list",
        "teams": "roles list",
        "grant": "roles grant",
        "leader": "controllers",
        "members": "controllers",
        "owners": "controllers",
        "takeover": "regions take-over",
        "drain": "regions drain",
        "undrain": "regions undrain",
        "uncordon": "regions undrain",
        "evacuate": "regions drain",
        "failover": "regions drain",
        "agent": "agents list",
        "join": "agents join",
        "enroll": "agents join",
        "enrol": "agents join",
        "config": "context list",
        "contexts": "context list",
        "use": "context use",
        "pending": "queue list",
        "notices": "notify list",
        "notifications": "notify list",
        "replay": "notify replay",
    },
    "queue": {"delete": "queue drop", "remove": "queue drop", "cancel": "queue drop", "clear": "queue drop"},
    "regions": {"delete": "regions remove", "add": "agents join", "evacuate": "regions drain"},
    "freeze": {"delete": "unfreeze", "remove": "unfreeze", "end": "unfreeze", "create": "freeze add"},
    "image": {"upload": "image push", "add": "image push", "build": "image bake"},
    "pool": {"remove": "pool quarantine", "cordon": "pool quarantine", "uncordon": "pool return"},
    "agents": {"delete": "agents revoke", "remove": "agents revoke", "add": "agents join"},
    "tokens": {"delete": "tokens revoke", "remove": "tokens revoke", "add": "tokens create"},
    "roles": {"delete": "roles withdraw", "remove": "roles withdraw", "add": "roles grant"},
    "people": {"delete": "people end", "remove": "people end", "logout": "people end"},
    "context": {"add": "context set", "create": "context set", "switch": "context use"},
    "controller": {"restore": "controller recover"},
    "audit": {"check": "audit verify", "dump": "audit export"},
}
"""By the command that the word was given to: what is meant, or several things that may be."""
OF_LISTS: Final = ("ls", "show", "get", "all")
LOOKS: Final = frozenset(
    {
        "init", "validate", "schema", "plan", "simulate", "watch", "queue", "status", "why",
        "history", "apps", "groups", "hosts", "regions", "events", "logs", "ages", "orphans",
        "image", "pool", "controllers", "agents", "doctor", "version", "completion", "context",
        "whoami", "tokens", "roles", "people", "audit", "notify", "help", "list", "baked", "verify", "export",
        "trusts", "suspects",
    }
)  # fmt: skip
"""Commands that change nothing, or need another word: these may be offered by likeness."""
SLIP_LENGTH_MIN = 3


def meant(below: str, wrong: str, known: Iterable[str]) -> str:
    """Commands, without `repave`, that `wrong` may stand for after the words `below`; "" for none."""
    known = list(known)
    others = OF_OTHERS.get(below, {}).get(wrong, "")
    if others:
        return others
    if below and wrong in OF_LISTS and "list" in known:
        return f"{below} list"
    near = _near(wrong.lower(), known)
    return f"{below} {near}".strip() if near else ""


def _near(wrong: str, known: list[str]) -> str:
    slips = [name for name in known if is_slip(wrong, name)]
    if slips:
        return min(slips, key=lambda name: name not in LOOKS)
    import difflib  # slow to import, and only who mistyped needs it

    return next(iter(difflib.get_close_matches(wrong, [name for name in known if name in LOOKS], n=1)), "")


def is_slip(wrong: str, right: str) -> bool:
    """Whether one letter is wrong, missing or too many, or two beside each other have changed places."""
    if len(right) < SLIP_LENGTH_MIN or abs(len(wrong) - len(right)) > 1:
        return False
    at = next((place for place, (a, b) in enumerate(zip(wrong, right, strict=False)) if a != b), None)
    if at is None:
        return True
    rest, after = wrong[at:], right[at:]
    is_swapped = rest[:2] == after[:2][::-1] and rest[2:] == after[2:]
    return is_swapped or rest[1:] == after[1:] or rest[1:] == after or rest == after[1:]
