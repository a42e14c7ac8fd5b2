"""Everything that the API can do has a command, or a reason why not. A new route needs a line here."""

import argparse

from repave_cli.commands.help import below_of
from repave_cli.main import make_parser
from repave_controller.api.app import Api
from repave_controller.api.web.openapi import document

APP = "/v1/applications/{application}"
COMMANDS = {
    "GET /v1/applications": "apps",
    f"GET {APP}": "status",
    f"GET {APP}/summary": "status",
    f"GET {APP}/stream": "watch",
    f"GET {APP}/why": "why",
    f"GET {APP}/why/summary": "why",
    f"GET {APP}/history": "history",
    f"GET {APP}/groups": "groups",
    f"GET {APP}/ages": "ages",
    f"GET {APP}/queue": "queue list",
    f"GET {APP}/hosts": "hosts",
    f"GET {APP}/logs/stream": "logs",
    f"POST {APP}/logs/stream": "logs",
    f"GET {APP}/artifacts/{{artifact}}": "release",
    f"POST {APP}/artifacts": "release",
    f"POST {APP}/adopt": "adopt",
    f"POST {APP}/releases": "release",
    f"POST {APP}/rollback": "rollback",
    f"POST {APP}/rollback/plan": "rollback",
    f"POST {APP}/override": "promote",
    f"POST {APP}/sizes": "scale",
    f"POST {APP}/sizes/plan": "scale",
    f"POST {APP}/jobs/settle": "jobs settle",
    f"POST {APP}/queue/resume": "queue resume",
    f"POST {APP}/queue/drop": "queue drop",
    f"GET {APP}/traffic": "traffic",
    f"GET {APP}/analyses": "analysis show",
    f"POST {APP}/analyses/replay": "analysis replay",
    f"GET {APP}/suspects": "suspects",
    "GET /v1/regions/{region}/suspects": "suspects",
    f"GET {APP}/spec": "spec",
    f"POST {APP}/promotion/approve": "promotions approve",
    f"POST {APP}/promotion/dismiss": "promotions dismiss",
    "GET /v1/promotions": "promotions list",
    "GET /v1/gitops": "gitops status",
    f"POST {APP}/queue/move": "queue move",
    f"POST {APP}/retire-group": "groups",
    f"POST {APP}/leave-region": "regions leave",
    f"POST {APP}/drain-region": "regions drain",
    f"POST {APP}/drain-last-region": "regions drain",
    f"POST {APP}/undrain-region": "regions undrain",
    **{
        f"POST {APP}/{verb}": verb
        for verb in ("abort", "pause", "resume", "retry", "step-back", "promote", "object", "delete", "renew")
    },
    "GET /v1/groups": "groups",
    "GET /v1/ages": "ages",
    "GET /v1/hosts": "hosts",
    "GET /v1/events": "events",
    "GET /v1/events/stream": "events",
    "POST /v1/outline": "release",
    "POST /v1/plan": "plan",
    "POST /v1/simulations": "simulate",
    "GET /v1/hooks": "hooks list",
    "GET /v1/deliveries": "hooks deliveries",
    "GET /v1/hooks/{hook}/deliveries/{delivery}": "hooks deliveries",
    "POST /v1/hooks/{hook}/deliveries/{delivery}/redeliver": "hooks redeliver",
    "POST /v1/hosts/{host}/taint": "taint",
    "GET /v1/freezes": "freeze list",
    "POST /v1/freezes": "freeze add",
    "POST /v1/freezes/all": "freeze",
    "POST /v1/freezes/{freeze}/lift": "unfreeze",
    "GET /v1/images": "image list",
    "POST /v1/images": "image push",
    "HEAD /v1/images/{digest}": "release",
    "GET /v1/baked-images": "image baked",
    "POST /v1/baked-images": "image bake",
    "GET /v1/orphans": "orphans",
    "GET /v1/regions": "regions",
    "POST /v1/regions/{region}/remove": "regions remove",
    "POST /v1/regions/{region}/drain": "regions drain",
    "POST /v1/regions/{region}/undrain": "regions undrain",
    "POST /v1/regions/{region}/take-over": "regions take-over",
    "GET /v1/pool": "pool list",
    "POST /v1/regions/{region}/pool/return": "pool return",
    **{
        f"POST /v1/regions/{{region}}/pool/{{machine}}/{verb}": f"pool {verb}"
        for verb in ("quarantine", "return", "release")
    },
    "GET /v1/controllers": "controllers",
    "GET /v1/agents": "agents list",
    "POST /v1/agents/rotate": "agents rotate",
    "POST /v1/agents/{region}/join-token": "agents join",
    "POST /v1/agents/{region}/revoke": "agents revoke",
    "GET /v1/whoami": "whoami",
    "POST /v1/logout": "logout",
    "GET /v1/tokens": "tokens list",
    "POST /v1/tokens": "tokens create",
    "POST /v1/tokens/{token}/revoke": "tokens revoke",
    "GET /v1/trusts": "tokens trusts",
    "POST /v1/trusts": "tokens trust",
    "POST /v1/trusts/{trust}/remove": "tokens distrust",
    "GET /v1/roles": "roles list",
    "POST /v1/roles/grant": "roles grant",
    "POST /v1/roles/withdraw": "roles withdraw",
    "POST /v1/teams/{team}/join": "roles join",
    "POST /v1/teams/{team}/leave": "roles leave",
    "GET /v1/audit": "audit list",
    "GET /v1/login": "login",
    "POST /v1/login": "login",
    "POST /v1/login/device": "login",
    "POST /v1/login/device/poll": "login",
    "POST /v1/login/browser": "login",
    "POST /v1/login/browser/finish": "login",
    "GET /v1/people": "people list",
    "POST /v1/people/{person}/end": "people end",
    "GET /v1/doctor": "doctor",
    "POST /v1/recovery": "controller recover",
    "GET /v1/notices": "notify list",
    "POST /v1/notices/{target}/replay": "notify replay",
    "POST /v1/notices/{target}/test": "notify test",
}
WITHOUT = {
    "GET /v1/images/{digest}": "agents fetch packages by it; a person has the package already",
    f"GET {APP}/regions": "pages of what status tells at once",
    "GET /v1/calendar": "a picture of freeze list and of what why says of windows",
    "GET /v1/regions/{region}/room": "plan and release ask it themselves",
    "GET /v1/plans": "plan prints the plan and its id; the dashboard lists those of others",
    "GET /v1/plans/{plan}": "plan prints it",
    "POST /v1/login/session": "gives a browser its cookie",
    "GET /v1/login/oidc": "a browser is led through it",
    "GET /v1/login/oidc/callback": "a browser is led through it",
}
OF_OTHERS = {"/v1/live": "the dashboard's stream; watch and events follow the same"}
"""Routes that begin so."""


def test_every_route_has_a_command_or_a_reason() -> None:
    described = document(Api(None, None, None, None, None).routes(), "1.2.3")  # type: ignore[arg-type]  # the table alone
    routes = {
        f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods
    }
    missing = {
        route
        for route in routes - COMMANDS.keys() - WITHOUT.keys()
        if not route.partition(" ")[2].startswith(tuple(OF_OTHERS))
    }
    assert not missing, "write each into COMMANDS with the command that asks it, or into WITHOUT with why not"
    assert not (COMMANDS.keys() | WITHOUT.keys()) - routes, "these routes are gone"


def test_every_command_named_is_there() -> None:
    tree = make_parser()
    for command in COMMANDS.values():
        at: argparse.ArgumentParser = tree
        for word in command.split():
            at = below_of(at).choices[word]
        assert at.get_default("run"), command
