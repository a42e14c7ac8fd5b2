"""Examples for the description of the API: what the main models look like, and values for paths."""

from typing import Any, Final

DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
SPEC = """\
repave: 1
app: hello
artifact: {uri: ./app}
host: {image: local, run: ./serve}
health: {http: {port: 8080, path: /}}
traffic: {frontend: hello, port: 8000}
regions: [{name: paris, size: 2}, {name: oslo, size: 3}]
"""
VALUES: Final = {
    "application": "hello",
    "artifact": "5f1c",
    "delivery": "b-5b1f4d0c7e2a9d3f6c8b1a0e4d7f2c95",
    "digest": DIGEST,
    "freeze": "f1",
    "hook": "ci",
    "host": "hello-v001-1a2b3c4d",
    "machine": "m1",
    "person": "oidc:anna",
    "plan": "7K2M9QXA",
    "region": "paris",
    "target": "ci",
    "team": "ops",
    "token": "t_1a2b3c",
    "trust": "t1",
}
EXAMPLES: Final[dict[str, Any]] = {
    "ReleaseRequest": {
        "spec": SPEC,
        "digest": DIGEST,
        "version": "2.0",
        "by": "anna",
        "reason": "new prices",
    },
    "AdoptRequest": {
        "spec": SPEC,
        "fleets": [
            {"region": "paris", "kind": "hosts", "hosts": [{"address": "10.0.0.1", "port": 8080}]},
            {"region": "oslo", "kind": "haproxy", "name": "old-hello"},
        ],
        "dry_run": True,
    },
    "ForetellRequest": {"spec": SPEC, "digest": DIGEST, "version": "2.0", "will_push": True},
    "OutlineRequest": {"files": [{"name": "repave.yaml", "text": SPEC}], "version": "2.0"},
    "RehearsalRequest": {"spec": SPEC, "faults": ["all"]},
    "SessionRequest": {"token": "repave_1a2b3c"},
    "QueueMoveRequest": {"name": "2.1", "place": 1, "by": "anna"},
    "SettleJobRequest": {"job": "migrate", "outcome": "again", "by": "anna"},
    "QueueDropRequest": {"name": "2.1", "by": "anna"},
    "LogsRequest": {"after": [{"region": "oslo", "host": "hello-v001-1a2b3c4d", "position": "4711:1024"}]},
    "AnalysisReplayRequest": {"rollout": 12, "pass_score": 90, "marginal_score": 60},
    "RollbackRequest": {"by": "anna", "reason": "prices are wrong"},
    "AbortRequest": {"by": "anna", "reason": "wrong branch"},
    "PromoteRequest": {"gates": ["step 1.3"], "role": "ops", "by": "anna"},
    "SizesRequest": {"sizes": {"paris": 4}, "by": "anna"},
    "FreezeChange": {"by": "anna", "reason": "the database is being moved"},
    "TokenRequest": {"name": "ci@shop", "expires_seconds": 86400, "note": "nightly"},
    "OverrideRequest": {"rule": "freeze", "by": "anna", "reason": "the fix for the outage"},
    "RetireGroupRequest": {"group": "hello-v001", "by": "anna"},
    "LeaveRegionRequest": {"region": "oslo", "by": "anna"},
    "DrainRegionRequest": {"region": "oslo", "by": "anna", "reason": "its uplink is being changed"},
    "DrainLastRegionRequest": {"region": "paris", "by": "anna", "reason": "maintenance page elsewhere"},
    "UndrainRegionRequest": {"region": "oslo", "by": "anna"},
    "FreezeRequest": {
        "from": "2026-12-24T00:00:00",
        "to": "2026-12-27T00:00:00",
        "zone": "Europe/Paris",
        "reason": "holidays",
    },
    "ArtifactRequest": {"spec": SPEC, "version": "2.0"},
    "BakeRequest": {"digest": DIGEST, "name": "hello-2.0", "regions": ["paris"]},
    "TrustRequest": {
        "name": "ci@shop",
        "issuer": "https://token.actions.githubusercontent.com",
        "claims": {"repository": "shop/hello", "ref": "refs/heads/main"},
    },
    "GrantRequest": {"role": "deployer", "to": "ci@shop", "applications": "hello*"},
    "MemberRequest": {"name": "oidc:anna"},
    "LoginRequest": {"token": "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmVk"},
    "HandleRequest": {"handle": "h_1a2b3c"},
    "BrowserRequest": {"port": 41873},
    "FinishRequest": {"handle": "h_1a2b3c", "code": "c0de", "state": "5tate"},
    "ReplayRequest": {"from_sequence": 1200, "by": "anna"},
    "AcceptedAnswer": {
        "application": "hello",
        "group": "hello-v002",
        "rollout": 2,
        "kind": "release",
        "is_queued": False,
        "is_joined": False,
    },
    "ApplicationItem": {
        "generation": "2.3f9ab0c1d2e4",
        "name": "hello",
        "serving": "hello-v002",
        "version": "2.0",
        "phase": "idle",
        "rollout": "",
        "hosts": 5,
        "verified": 5,
        "regions": 2,
        "port": 8000,
        "queued": 0,
    },
    "EventItem": {
        "sequence": 41,
        "at": "2026-11-28T02:00:00Z",
        "kind": "release.started",
        "text": "release of hello-v002 (2.0) started by anna: new prices",
        "application": "hello",
        "region": "",
        "group": "hello-v002",
        "host": "",
        "by": "anna",
    },
    "ImageItem": {
        "digest": DIGEST,
        "name": "app",
        "size_bytes": 1048576,
        "files": 12,
        "pushed_at": "2026-11-28T01:58:00Z",
    },
    "Problem": {
        "type": "urn:repave:problem:rollout-running",
        "title": "rollout running",
        "status": 409,
        "detail": "the release of hello-v002 is still running",
        "rule": "rollout-running",
        "problems": [],
        "facts": {"application": "hello"},
        "remedy": None,
    },
}
"""By the names of the models. A test holds each to its model."""


def example_of(model: str) -> Any:
    """None where there is none."""
    return EXAMPLES.get(model)


def value_of(parameter: str) -> str:
    """Of a path."""
    return VALUES[parameter]
