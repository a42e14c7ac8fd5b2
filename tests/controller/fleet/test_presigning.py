"""Signed addresses of stores of the kind of S3, by AWS's own example and by what else can be in a key."""

from dataclasses import replace

import pytest
from yarl import URL

from repave_controller.fleet.presigning import Bucket, Keys, presigned

# docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, 24 May 2013, 00:00 UTC
KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
EXAMPLE = Bucket("examplebucket", URL("https://s3.amazonaws.com"), "us-east-1", is_in_host=True)
AT = 1369353600.0


def test_the_example_of_aws_has_its_signature() -> None:
    assert str(presigned(EXAMPLE, "test.txt", KEYS, AT, 86400)) == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
        "AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&"
        "X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("web/2.0.tar.gz", "/packages/web/2.0.tar.gz"),
        ("a+b c~d_e.tar.gz", "/packages/a%2Bb%20c~d_e.tar.gz"),
        ("../other/x", "/packages/../other/x"),  # a key, and no way out: nothing is resolved
        ("ü?#&=", "/packages/%C3%BC%3F%23%26%3D"),
    ],
)
def test_a_key_is_written_as_the_signature_has_it(key: str, path: str) -> None:
    bucket = Bucket("packages", URL("http://127.0.0.1:9000"), "eu-1")
    assert presigned(bucket, key, KEYS, AT, 60).raw_path == path


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        ("web/2.0.tar.gz", "873019c7acdad7bd50ef46ff10049f5bf96f6dc996f3c0e43c77a84dfa01863e"),
        ("a+b c~d_e.tar.gz", "101413d4b6a7b2825e3d200d72518008beead2a23133e07f3d668dfa02c92833"),
        ("ü(1)*'!.tgz", "062c6bfe8a70d71c3e18e62a52471750ddbed6c86a8149a6a77bea4903762464"),
    ],
)
def test_it_signs_as_botocore_does(key: str, signature: str) -> None:
    """What generate_presigned_url gave for these, by path, on 27 November 2026 at 12:00 UTC."""
    bucket = Bucket("packages", URL("http://127.0.0.1:4570"), "eu-1")
    made = presigned(bucket, key, Keys("AK", "SK"), 1795780800.0, 600)
    assert made.query["X-Amz-Signature"] == signature


def test_temporary_keys_show_their_session_and_no_secret_is_shown() -> None:
    temporary = replace(KEYS, session="FwoG/+=")
    assert "X-Amz-Security-Token=FwoG%2F%2B%3D&" in str(presigned(EXAMPLE, "x", temporary, AT, 60))
    assert KEYS.secret not in f"{temporary!r}"
