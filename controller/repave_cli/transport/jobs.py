"""The token that a CI signs for the job in which this command runs."""

import http.client
import json
import os
import ssl
import urllib.parse

from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import USAGE

READY = ("REPAVE_ID_TOKEN", "CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN")
"""Variables that hold one: GitLab's as `id_tokens` names it, CircleCI's own."""
TIMEOUT_SECONDS = 30.0
ANSWER_BYTES_MAX = 64 * 1024


def job_token(audience: str) -> str:
    """Raises CliError where there is none."""
    ready = next((os.environ[name] for name in READY if os.environ.get(name)), "")
    if ready:
        return ready.strip()
    url = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
    asking = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
    if url and asking:
        return _of_github(url, asking, audience)
    raise CliError(
        "no CI has signed a token for this job. GitHub: permissions: {id-token: write}. GitLab: id_tokens: "
        f"{{REPAVE_ID_TOKEN: {{aud: {audience}}}}}. CircleCI: a context for the job",
        USAGE,
    )


def _of_github(url: str, asking: str, audience: str) -> str:
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    if parts.scheme != "https" and parts.hostname != "127.0.0.1":
        raise CliError("ACTIONS_ID_TOKEN_REQUEST_URL is no https address", USAGE)
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        place = f"{parts.path}?{parts.query}&{urllib.parse.urlencode({'audience': audience})}"
        connection.request("GET", place, headers={"Authorization": f"Bearer {asking}"})
        response = connection.getresponse()
        return str(json.loads(response.read(ANSWER_BYTES_MAX))["value"])
    except (OSError, ssl.SSLError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise CliError(f"GitHub gave no token for this job: {type(error).__name__}") from error
    finally:
        connection.close()
