"""Where packages are that specs name by https:// and s3://, and what shows that the controller may have them.

Credentials are an operator's, and a spec is a deployer's: each may be used for certain applications only.
"""

import base64
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from yarl import URL

from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.fleet.fetching import Place
from repave_controller.fleet.presigning import Bucket, Keys, keys_of, presigned
from repave_controller.settings import ArtifactsSettings, HostCredential, S3Bucket

SECONDS_SIGNED = 3600
FILE_BYTES_MAX = 64 * 1024


class Sources:
    """Of one controller. Files are read when they are needed: a secret that was renewed counts at once."""

    def __init__(self, settings: ArtifactsSettings, wall: Callable[[], float]) -> None:
        self._settings, self._wall = settings, wall

    def place(self, uri: str, application: str) -> Place:
        """Raises Refused."""
        if uri.startswith("s3://"):
            return self._in_bucket(uri, application)
        url = URL(uri)
        host = url.host or ""
        credential = self._settings.credentials.get(host) or self._settings.credentials.get(
            f"{host}:{url.port}"
        )
        authorization = ""
        if credential is not None and _is_for(credential.apps, application):
            authorization = _authorization(credential, uri)
        return Place(url, str(url.with_query(None)), authorization)

    def is_direct(self, uri: str) -> bool:
        """Whether agents may fetch it from its store themselves."""
        bucket = self._bucket(URL(uri).host or "") if uri.startswith("s3://") else None
        return bucket is not None and bucket.direct

    def _in_bucket(self, uri: str, application: str) -> Place:
        name, _, key = uri.removeprefix("s3://").partition("/")
        known = self._bucket(name)
        if known is None or not _is_for(known.apps, application):
            raise Refused(Refusal.ARTIFACT_BUCKET_UNKNOWN, bucket=name, application=application)
        endpoint = known.endpoint or f"https://s3.{known.region}.amazonaws.com"
        bucket = Bucket(name, URL(endpoint), known.region, is_in_host=not known.endpoint)
        url = presigned(bucket, key, _keys(known.credentials, uri), self._wall(), SECONDS_SIGNED)
        return Place(url, uri, is_of_settings=bool(known.endpoint))

    def _bucket(self, name: str) -> S3Bucket | None:
        return self._settings.s3.get(name)


def _is_for(globs: Iterable[str], application: str) -> bool:
    return any(fnmatchcase(application, glob) for glob in globs)


def _authorization(credential: HostCredential, uri: str) -> str:
    if credential.token is not None:
        return f"Bearer {_read(credential.token, uri)}"
    assert credential.password is not None
    pair = f"{credential.user}:{_read(credential.password, uri)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _keys(file: Path, uri: str) -> Keys:
    try:
        return keys_of(_read(file, uri))
    except ValueError as error:
        why = f"{file} can't be used: {error}"
        raise Refused(Refusal.ARTIFACT_CREDENTIAL, uri=uri, why=why) from None


def _read(file: Path, uri: str) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(FILE_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = f"{file} can't be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}"
        raise Refused(Refusal.ARTIFACT_CREDENTIAL, uri=uri, why=why) from None
