"""Webhooks as their senders sign and write them: small ones, with the senders' own names of fields."""

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from repave_controller.hooks.verification import Arrived
from repave_controller.security.standard_webhooks import headers_for

SECRET = "s3cret of the hook"
SHA = "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c"
NOW = 1_800_000_000.0
TRAVIS_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TRAVIS_PEM = TRAVIS_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

REPOSITORY = {"id": 1296269, "full_name": "acme/web", "private": False}
PAYLOADS: dict[str, dict[str, Any]] = {
    "github workflow_run": {
        "action": "completed",
        "workflow_run": {
            "id": 30433642,
            "name": "build",
            "head_branch": "main",
            "head_sha": SHA,
            "run_number": 562,
            "event": "push",
            "status": "completed",
            "conclusion": "success",
            "head_repository": {"full_name": "acme/web"},
        },
        "repository": REPOSITORY,
        "sender": {"login": "ann"},
    },
    "github push": {
        "ref": "refs/heads/main",
        "before": "0" * 40,
        "after": SHA,
        "created": False,
        "deleted": False,
        "commits": [{"id": SHA, "added": ["web/a.py"], "removed": [], "modified": ["README.md"]}],
        "repository": REPOSITORY,
    },
    "github release": {
        "action": "published",
        "release": {"tag_name": "v1.2.3", "draft": False, "target_commitish": "main"},
        "repository": REPOSITORY,
    },
    "github deployment": {
        "action": "created",
        "deployment": {
            "id": 145988746,
            "sha": SHA,
            "ref": "main",
            "task": "deploy",
            "environment": "production",
            "payload": {"version": "2.0", "digest": "a" * 64},
        },
        "repository": REPOSITORY,
    },
    "gitlab pipeline": {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": 31,
            "iid": 3,
            "name": "Pipeline for main",
            "ref": "main",
            "tag": False,
            "sha": SHA,
            "source": "push",
            "status": "success",
        },
        "project": {"id": 1, "path_with_namespace": "acme/web"},
    },
    "gitlab push": {
        "object_kind": "push",
        "ref": "refs/heads/main",
        "before": "95790bf891e76fee5e1747ab589903a6a1f80f22",
        "after": SHA,
        "checkout_sha": SHA,
        "project": {"path_with_namespace": "acme/web"},
        "commits": [{"id": SHA, "added": [], "modified": ["web/b.py"], "removed": []}],
    },
    "gitlab release": {
        "object_kind": "release",
        "action": "create",
        "tag": "v1.2.3",
        "project": {"path_with_namespace": "acme/web"},
        "commit": {"id": SHA},
    },
    "gitlab build": {
        "object_kind": "build",
        "ref": "main",
        "tag": False,
        "sha": SHA,
        "pipeline_id": 2366,
        "build_name": "package",
        "build_status": "success",
        "environment": {"name": "production"},
        "project": {"path_with_namespace": "acme/web"},
    },
    "circleci workflow-completed": {
        "id": "3888f21b-eaa7-38e3-8f3d-75a63bba8895",
        "type": "workflow-completed",
        "happened_at": "2026-09-01T22:49:34.317Z",
        "webhook": {"id": "cf8c4fdd-0587-4da1-b4ca-4846e9640af9", "name": "repave"},
        "project": {"id": "84996744", "name": "web", "slug": "github/acme/web"},
        "workflow": {"id": "fda08377", "name": "build", "status": "success"},
        "pipeline": {
            "id": "1285fe1d",
            "number": 130,
            "vcs": {
                "provider_name": "github",
                "origin_repository_url": "https://github.com/acme/web",
                "target_repository_url": "https://github.com/acme/web",
                "revision": SHA,
                "branch": "main",
            },
        },
    },
    "travis build": {
        "id": 1,
        "number": "17",
        "state": "passed",
        "status_message": "Passed",
        "type": "push",
        "pull_request": False,
        "branch": "main",
        "tag": None,
        "commit": SHA,
        "repository": {"id": 1, "name": "web", "owner_name": "acme"},
    },
    "jenkins build": {
        "name": "web",
        "url": "job/web/",
        "build": {
            "full_url": "https://jenkins.example/job/web/18/",
            "number": 18,
            "phase": "FINALIZED",
            "status": "SUCCESS",
            "scm": {"url": "git@git.example:acme/web.git", "branch": "origin/main", "commit": SHA},
            "artifacts": {},
        },
    },
    "generic build": {
        "version": "2.0",
        "digest": "a" * 64,
        "branch": "main",
        "commit": SHA,
        "status": "success",
        "paths": ["web/a.py"],
    },
}


def body_of(name: str, **changes: Any) -> bytes:
    """`changes`: fields, with __ between the names of one inside another."""
    payload = json.loads(json.dumps(PAYLOADS[name]))
    for path, value in changes.items():
        place = payload
        *above, last = path.split("__")
        for each in above:
            place = place[each]
        place[last] = value
    return json.dumps(payload).encode()


def arrived(name: str, secret: str = SECRET, now: float = NOW, id: str = "d-1", **changes: Any) -> Arrived:
    return signed(name, body_of(name, **changes), secret, now, id)


def signed(name: str, body: bytes, secret: str = SECRET, now: float = NOW, id: str = "d-1") -> Arrived:
    """As its sender sends it."""
    sender, _, event = name.partition(" ")
    headers = {"content-type": "application/json"}
    match sender:
        case "github":
            headers |= {
                "x-github-event": event,
                "x-github-delivery": id,
                "x-hub-signature-256": f"sha256={hex_of(secret, body)}",
            }
        case "gitlab":
            headers |= {"x-gitlab-token": secret, "x-gitlab-event-uuid": id}
        case "circleci":
            headers |= {"circleci-signature": f"v1={hex_of(secret, body)}", "circleci-event-type": event}
        case "travis":
            signature = TRAVIS_KEY.sign(body, padding.PKCS1v15(), hashes.SHA1())  # as Travis
            headers |= {
                "content-type": "application/x-www-form-urlencoded",
                "signature": base64.b64encode(signature).decode(),
                "travis-repo-slug": "acme/web",
            }
            body = urlencode({"payload": body.decode()}).encode()
        case "jenkins":
            headers |= {"x-repave-signature-256": f"sha256={hex_of(secret, body)}"}
        case _:
            headers |= headers_for([secret], id, now, body)
    return Arrived(headers, body)


def secrets_of(name: str) -> list[str]:
    return [TRAVIS_PEM] if name.startswith("travis") else [SECRET]


def hex_of(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
