"""Standard Webhooks: what counts as signed, and what doesn't."""

import pytest

from repave_controller.security.standard_webhooks import (
    ID,
    SIGNATURE,
    SIGNATURES_MAX,
    TIMESTAMP,
    TOLERANCE_SECONDS,
    NotSigned,
    check,
    headers_for,
    key_of,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
NOW = 1614265330.0
EXAMPLE = {
    ID: "msg_p5jXN8AQM9LWM0D4loKWxJek",
    TIMESTAMP: "1614265330",
    SIGNATURE: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
"""The example that libraries of Standard Webhooks test themselves with."""


def test_the_example_of_the_specification_counts() -> None:
    assert check([SECRET], EXAMPLE, BODY, NOW) == EXAMPLE[ID]
    assert headers_for([SECRET], EXAMPLE[ID], NOW, BODY) == EXAMPLE


def test_any_of_several_secrets_and_signatures_will_do() -> None:
    shown = {**EXAMPLE, SIGNATURE: f"v1,AAAA v2,xx {EXAMPLE[SIGNATURE]}"}
    assert check(["other", SECRET], shown, BODY, NOW)
    both = headers_for(["old", SECRET], "m", NOW, BODY)
    assert check(["old"], both, BODY, NOW) == check([SECRET], both, BODY, NOW) == "m"


@pytest.mark.parametrize(
    ("changes", "body", "now", "why"),
    [
        ({}, BODY + b" ", NOW, "no signature of this body"),
        ({ID: "other"}, BODY, NOW, "no signature of this body"),
        ({TIMESTAMP: "1614265331"}, BODY, NOW, "no signature of this body"),
        ({TIMESTAMP: "١٦١٤"}, BODY, NOW, "no signature of this body"),
        ({SIGNATURE: ""}, BODY, NOW, "no signature of this body"),
        ({SIGNATURE: EXAMPLE[SIGNATURE].replace("v1,", "v1a,")}, BODY, NOW, "no signature of this body"),
        ({SIGNATURE: "v1,ü\udcff"}, BODY, NOW, "no signature of this body"),
        ({SIGNATURE: "v1,A " * SIGNATURES_MAX + EXAMPLE[SIGNATURE]}, BODY, NOW, "no signature of this body"),
        ({ID: ""}, BODY, NOW, "are needed"),
        ({ID: "x" * 201}, BODY, NOW, "longer than"),
        ({}, BODY, NOW + TOLERANCE_SECONDS + 1, "away from now"),
        ({}, BODY, NOW - TOLERANCE_SECONDS - 1, "away from now"),
    ],
)
def test_what_does_not_count(changes: dict[str, str], body: bytes, now: float, why: str) -> None:
    with pytest.raises(NotSigned, match=why) as caught:
        check([SECRET], {**EXAMPLE, **changes}, body, now)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", [ID, TIMESTAMP, SIGNATURE])
def test_each_header_is_needed(name: str) -> None:
    with pytest.raises(NotSigned, match="are needed"):
        check([SECRET], {key: value for key, value in EXAMPLE.items() if key != name}, BODY, NOW)


def test_a_secret_without_the_prefix_is_the_key() -> None:
    assert key_of("plain") == b"plain"
    with pytest.raises(ValueError, match="no base64"):
        key_of("whsec_%")
