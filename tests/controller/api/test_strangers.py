"""What a web page in a user's browser could send is not obeyed: there are no log-ins yet."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("headers", "status", "rule"),
    [
        ({"Origin": "http://evil.example"}, 403, "foreign-origin"),
        ({"Host": "evil.example:7400"}, 403, "foreign-host"),
        ({"Content-Type": "text/plain"}, 415, "not-json"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "not-json"),
    ],
)
def test_a_command_that_a_web_page_could_send_is_refused(
    api: Any, headers: dict[str, str], status: int, rule: str
) -> None:
    api.release()
    api.ended()
    answer = api.post("applications/hello/rollback", {}, **headers)
    assert (answer.status, answer.json["rule"]) == (status, rule)
    assert api.get("applications/hello/history").json["items"][0]["kind"] == "release"
