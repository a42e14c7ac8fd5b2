"""Addresses that a store of the kind of S3 serves without further credentials, for a while: AWS Signature
Version 4 in the query (docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html).

A hundred lines in place of botocore, which knows every service: all that is ever asked is of one object.
"""

import configparser
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from yarl import URL

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """`session` is of temporary ones."""

    access: str
    secret: str = field(repr=False)
    session: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where it is: by path (`https://store/bucket/key`), as every store takes it, or with the bucket in the
    name of the host, as AWS wants it."""

    name: str
    endpoint: URL
    region: str
    is_in_host: bool = False

    def url(self, key: str) -> URL:
        """Of an object, not signed."""
        path = quote(key, safe="/-_.~")
        if self.is_in_host:
            host = self.endpoint.with_host(f"{self.name}.{self.endpoint.host}")
            return URL(f"{host.origin()!s}/{path}", encoded=True)
        return URL(f"{self.endpoint.origin()!s}/{quote(self.name, safe='')}/{path}", encoded=True)


def presigned(bucket: Bucket, key: str, keys: Keys, at: float, seconds: int, method: str = "GET") -> URL:
    """For this of the object, from `at` (Unix time) on, for so long."""
    url, time = bucket.url(key), datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{time[:8]}/{bucket.region}/s3/aws4_request"
    asked = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access}/{scope}",
        "X-Amz-Date": time,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if keys.session:
        asked["X-Amz-Security-Token"] = keys.session
    query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(asked.items())
    )
    request = "\n".join((method, url.raw_path, query, f"host:{_host(url)}", "", "host", "UNSIGNED-PAYLOAD"))
    to_sign = "\n".join((ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()))
    signing = signing_key(keys, time[:8], bucket.region, "s3")
    signature = hmac.digest(signing, to_sign.encode(), hashlib.sha256).hex()
    return URL(f"{url}?{query}&X-Amz-Signature={signature}", encoded=True)


def keys_of(text: str) -> Keys:
    """Of a file as AWS has it, its section `default` or the first one. Raises ValueError."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
        section = parser["default"] if "default" in parser else parser[parser.sections()[0]]
        return Keys(
            section["aws_access_key_id"],
            section["aws_secret_access_key"],
            section.get("aws_session_token", ""),
        )
    except (configparser.Error, KeyError, IndexError):
        raise ValueError("it has no [default] with aws_access_key_id and aws_secret_access_key") from None


def signing_key(keys: Keys, day: str, region: str, service: str) -> bytes:
    """Of a day, a region and a service; `day` as in 20130524."""
    key = f"AWS4{keys.secret}".encode()
    for word in (day, region, service, "aws4_request"):
        key = hmac.digest(key, word.encode(), hashlib.sha256)
    return key


def _host(url: URL) -> str:
    return f"{url.raw_host}" if url.is_default_port() else f"{url.raw_host}:{url.port}"
