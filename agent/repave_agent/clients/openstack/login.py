"""Which OpenStack cloud, and with what to log in: clouds.yaml and OS_* variables, as its own tools do."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from repave_agent.clients.openstack import CloudOptions
from repave_agent.clients.openstack.vendors import vendor
from repave_agent.clients.yaml_file import read_yaml
from repave_agent.core.ports import RefusedError

PLACES = (Path("clouds.yaml"), Path("~/.config/openstack/clouds.yaml"), Path("/etc/openstack/clouds.yaml"))
SCOPED = ("project_id", "project_name", "project_domain_id", "project_domain_name")
VARIABLES = (
    "auth_url", "username", "user_id", "password", "user_domain_id", "user_domain_name", *SCOPED,
    "application_credential_id", "application_credential_name", "application_credential_secret",
)  # fmt: skip
"""Of `auth` in clouds.yaml; in capitals after OS_ they are the variables of the environment."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """`auth`: as in clouds.yaml. `overrides`: service to its endpoint, where the catalogue is odd."""

    auth: Mapping[str, str] = field(repr=False)
    region_name: str = ""
    interface: str = "public"
    verifies: bool = True
    cacert: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def auth_url(self) -> str:
        """Of version 3, without a slash at its end."""
        url = self.auth["auth_url"].rstrip("/")
        return url if url.endswith("/v3") else f"{url}/v3"

    def login(self) -> dict[str, Any]:
        """The body of a request for a token. Raises RefusedError, which names what is missing."""
        secret = self.auth.get("application_credential_secret")
        if secret is not None:
            return {"auth": {"identity": self._credential(secret)}}
        user = self._named("user", self.auth.get("user_id"), self.auth.get("username"))
        user["password"] = self._must("password")
        identity = {"methods": ["password"], "password": {"user": user}}
        project = self._named("project", self.auth.get("project_id"), self.auth.get("project_name"))
        return {"auth": {"identity": identity, "scope": {"project": project}}}

    def _credential(self, secret: str) -> dict[str, Any]:
        found: dict[str, Any] = {"secret": secret}
        if "application_credential_id" in self.auth:
            found["id"] = self.auth["application_credential_id"]
        else:
            found["name"] = self._must("application_credential_name")
            found["user"] = self._named("user", self.auth.get("user_id"), self.auth.get("username"))
        return {"methods": ["application_credential"], "application_credential": found}

    def _named(self, kind: str, known_id: str | None, name: str | None) -> dict[str, Any]:
        if known_id:
            return {"id": known_id}
        if not name:
            raise RefusedError(
                f"the cloud's auth has neither {kind}_id nor {kind}name; see clouds.yaml or OS_*"
            )
        domain_id = self.auth.get(f"{kind}_domain_id")
        domain = {"id": domain_id} if domain_id else {"name": self.auth.get(f"{kind}_domain_name", "Default")}
        return {"name": name, "domain": domain}

    def _must(self, name: str) -> str:
        if name not in self.auth:
            raise RefusedError(
                f"the cloud's auth has no {name}; write it into clouds.yaml or set OS_{name.upper()}"
            )
        return self.auth[name]


INTERFACES = ("public", "internal", "admin")


def cloud_of(options: CloudOptions, environment: Mapping[str, str] = os.environ) -> Cloud:
    """The cloud that the settings name, and what they say of it. Raises RefusedError."""
    found = load_cloud(options.cloud, environment, options.region_name)
    return replace(
        found,
        interface=options.interface or found.interface,
        cacert=str(options.cacert or found.cacert),
    )


def load_cloud(name: str, environment: Mapping[str, str] = os.environ, region: str = "") -> Cloud:
    """The cloud that `name` says, or OS_CLOUD; without either, what OS_* say. `region` counts instead of its
    own. Raises RefusedError."""
    chosen = name or environment.get("OS_CLOUD", "")
    raw = _from_files(chosen, environment) if chosen else {}
    auth = {key: str(value) for key, value in (raw.get("auth") or {}).items() if value is not None}
    if not chosen:
        for key in VARIABLES:
            if value := environment.get(f"OS_{key.upper()}"):
                auth[key] = value
    if chosen and "auth_url" not in auth:
        raise RefusedError(f"openstack.cloud: {chosen} has no auth_url in its auth, nor has its profile")
    if "auth_url" not in auth:
        raise RefusedError(
            "openstack.cloud: no cloud is named, and OS_AUTH_URL is not set. Name one of clouds.yaml, or "
            "set OS_*"
        )
    region = region or _region(raw) or environment.get("OS_REGION_NAME", "")
    auth["auth_url"] = auth["auth_url"].replace("{region_name}", region)
    return Cloud(
        auth,
        region,
        _interface(raw, environment),
        _is_true(raw.get("verify", True)) and not _is_true(raw.get("insecure", False)),
        str(raw.get("cacert") or environment.get("OS_CACERT", "")),
        {key: str(value).rstrip("/") for key, value in raw.items() if key.endswith("_endpoint_override")},
    )


def _region(raw: Mapping[str, Any]) -> str:
    """The first of its `regions` where `region_name` says none, as everywhere."""
    listed = raw.get("regions")
    first = listed[0] if isinstance(listed, list) and listed else ""
    return str(raw.get("region_name") or (first.get("name", "") if isinstance(first, dict) else first))


def _interface(raw: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Raises RefusedError."""
    ours = (raw.get("interface"), raw.get("endpoint_type"))
    theirs = (environment.get("OS_INTERFACE"), environment.get("OS_ENDPOINT_TYPE"))
    said = str(next((each for each in (*ours, *theirs) if each), "public")).removesuffix("URL")
    if said not in INTERFACES:
        raise RefusedError(f"interface of the cloud: {said[:80]}: write one of {', '.join(INTERFACES)}")
    return said


def _is_true(said: object) -> bool:
    """YAML has truths, variables have words."""
    return str(said).strip().lower() in ("true", "1", "yes", "on")


def _from_files(name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    given = environment.get("OS_CLIENT_CONFIG_FILE")
    file = next((each for each in ([Path(given)] if given else _places()) if each.exists()), None)
    if file is None:
        searched = given or ", ".join(str(each) for each in _places())
        raise RefusedError(f"openstack.cloud: {name}: there is no clouds.yaml ({searched})")
    clouds = _read(file).get("clouds") or {}
    if name not in clouds:
        raise RefusedError(
            f"openstack.cloud: {file} has no cloud {name}; it has: {', '.join(clouds) or 'none'}"
        )
    secret = file.with_name("secure.yaml")
    more = (_read(secret).get("clouds") or {}).get(name) or {} if secret.exists() else {}
    return _merged(_profile(name, clouds[name], file), clouds[name], more)


def _merged(*layers: dict[str, Any]) -> dict[str, Any]:
    """The later ones count; their `auth` field by field."""
    found: dict[str, Any] = {}
    for layer in layers:
        auth = {**(found.get("auth") or {}), **(layer.get("auth") or {})}
        found = {**found, **layer, "auth": auth}
    return found


def _profile(name: str, cloud: dict[str, Any], file: Path) -> dict[str, Any]:
    """What clouds-public.yaml says of the vendor that the cloud names, or is known of it; {} when it names
    none."""
    profile = cloud.get("profile") or cloud.get("cloud")
    if not profile:
        return {}
    places = [place.with_name("clouds-public.yaml") for place in (file, *_places())]
    public = next((place for place in places if place.exists()), None)
    known = (_read(public).get("public-clouds") or {}) if public is not None else {}
    if profile in known:
        return dict(known[profile])
    if found := vendor(str(profile)):
        return found
    if (cloud.get("auth") or {}).get("auth_url"):
        return {}
    where = public or ", ".join(dict.fromkeys(str(place) for place in places))
    raise RefusedError(
        f"openstack.cloud: {name} has profile {profile}, which is not in clouds-public.yaml ({where}): write "
        "it there, or auth_url and region_name into the cloud itself"
    )


def _places() -> list[Path]:
    return [each.expanduser() for each in PLACES]


def _read(file: Path) -> dict[str, Any]:
    try:
        raw = read_yaml(file)
    except OSError as error:
        raise RefusedError(f"{file} can't be read: {error}") from error
    if not isinstance(raw, dict | None):
        raise RefusedError(f"{file}: expected options such as clouds:, not {type(raw).__name__}")
    for section in ("clouds", "public-clouds"):
        _check(file, section, (raw or {}).get(section))
    return raw or {}


def _check(file: Path, section: str, clouds: object) -> None:
    """Raises RefusedError unless each is a mapping, and its `auth` one."""
    if not isinstance(clouds, dict | None):
        raise RefusedError(f"{file}: {section}: expected a mapping of clouds by name")
    for name, cloud in (clouds or {}).items():
        if not isinstance(cloud, dict) or not isinstance(cloud.get("auth"), dict | None):
            raise RefusedError(f"{file}: {section}.{name}: expected a mapping, and one in its auth")
