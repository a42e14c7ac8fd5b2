"""A reserved address of the stand-in for Google Cloud, as an operator has it, and what others do there."""

import asyncio
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from repave_agent.balancers.cloud.balancer import CloudBalancer
from repave_agent.balancers.gcp_lb.load_balancer import OWNER, GcpLoadBalancer
from repave_agent.clients.gcp import GoogleOptions
from repave_agent.clients.gcp.account import Account
from repave_agent.clients.gcp.login import find_credentials
from repave_agent.core.ports import Clock
from tests.fakes.clock import FastClock
from tests.support.rigs import CloudRig

AnyCloudBalancer = CloudBalancer[Any, Any]
ZONES = ("europe-west1-b", "europe-west1-c")
QUICK = {"boot_seconds": 0.0, "operation_seconds": 0.0, "health_seconds": 0.0}
IMAGE = "projects/debian-cloud/global/images/debian-12-bookworm-v20261111"
ORDER = (
    "forwardingRules",
    "targetHttpProxies",
    "urlMaps",
    "backendServices",
    "networkEndpointGroups",
    "healthChecks",
)
"""In which all can be deleted."""


class GoogleFront:
    """`region`: of an internal address; a global one has none."""

    def __init__(self, rig: CloudRig, name: str = "front", region: str = "") -> None:
        self.rig, self.name, self.region = rig, name, region
        self.scope = f"regions/{region}" if region else "global"
        self._machines = 0
        self.calls: Callable[[], int] = lambda: 0
        """Requests of the balancer that was made last."""

    def begin(self, **settings: Any) -> None:
        """In an empty cloud."""
        self.rig.reset(**QUICK, **settings)
        self.reserve()

    def reserve(self) -> None:
        """The address."""
        body = {"name": self.name}
        if self.region:
            body |= {"addressType": "INTERNAL", "subnetwork": f"{self.scope}/subnetworks/default"}
        self.call("POST", f"{self.scope}/addresses", body)

    def balancer(
        self, directory: Path, clock: Clock | None = None, region: str = "here", **more: Any
    ) -> AnyCloudBalancer:
        clock = clock or FastClock(20.0)
        options = GoogleOptions(endpoint=self.rig.url, calls_per_second=0.0)
        account = Account(options, clock, find_credentials(None, self.rig.variables))
        self.calls = lambda: account.compute.rest.calls
        there = GcpLoadBalancer(account, self.name, clock=clock, region=self.region)
        return CloudBalancer(directory, there, region, clock=clock, **more)

    # ------------------------------------------------------------------------------------ as an operator

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Returns once the change is done."""
        project = self.rig.variables["GOOGLE_CLOUD_PROJECT"]
        base = f"{self.rig.url}/compute/v1/projects/{project}"
        answer = self._ask(method, f"{base}/{path}", body)
        while answer.get("kind") == "compute#operation" and answer["status"] != "DONE":
            link = re.sub(r"^https?://[^/]+", self.rig.url, answer["selfLink"])
            answer = self._ask("POST", f"{link}/wait", None)
        assert "error" not in answer, answer
        return answer

    def _ask(self, method: str, url: str, body: object) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token()}"}
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def _token(self) -> str:
        url = f"http://{self.rig.variables['GCE_METADATA_HOST']}/computeMetadata/v1/instance/service-accounts/default/token"
        request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["access_token"])

    def add_machine(self, name: str) -> str:
        """Its address. Each is in the next zone."""
        zone = ZONES[self._machines % len(ZONES)]
        self._machines += 1
        path = f"zones/{zone}/instances"
        body = {
            "name": name,
            "machineType": f"zones/{zone}/machineTypes/e2-small",
            "labels": {OWNER: "tests"},
            "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": IMAGE}}],
            "networkInterfaces": [{"network": "global/networks/default"}],
        }
        self.call("POST", path, body)
        made = self.call("GET", f"{path}/{name}")
        return str(made["networkInterfaces"][0]["networkIP"])

    def listed(self, collection: str) -> list[Any]:
        """All of the project, in this scope and in all zones."""
        path = (
            f"aggregated/{collection}"
            if collection == "networkEndpointGroups"
            else f"{self.scope}/{collection}"
        )
        found = self.call("GET", path).get("items") or []
        if isinstance(found, dict):
            return [each for one in found.values() for each in one.get(collection, ())]
        return list(found)

    def instances(self) -> list[Any]:
        """As a listing has them now."""
        return [
            each for zone in ZONES for each in self.call("GET", f"zones/{zone}/instances").get("items") or ()
        ]

    def labels(self) -> dict[str, str]:
        """Of the address."""
        return dict(self.call("GET", f"{self.scope}/addresses/{self.name}").get("labels") or {})

    def all_listed(self) -> list[str]:
        return [f"{collection}/{each['name']}" for collection in ORDER for each in self.listed(collection)]

    def clear(self) -> None:
        """Deletes all that is behind the address, and the marks on it."""
        for collection in ORDER:
            for each in self.listed(collection):
                self.call(
                    "DELETE", each["selfLink"].partition(f"{self.rig.variables['GOOGLE_CLOUD_PROJECT']}/")[2]
                )

    @contextmanager
    def stranger(self, port: int) -> Iterator[None]:
        """Someone else's service at this port of the address."""
        address = self.call("GET", f"{self.scope}/addresses/{self.name}")["address"]
        scheme = "INTERNAL_MANAGED" if self.region else "EXTERNAL_MANAGED"
        things: list[tuple[str, dict[str, Any]]] = [
            ("backendServices", {"loadBalancingScheme": scheme, "protocol": "HTTP"}),
            ("urlMaps", {"defaultService": f"{self.scope}/backendServices/web"}),
            ("targetHttpProxies", {"urlMap": f"{self.scope}/urlMaps/web"}),
            (
                "forwardingRules",
                {
                    "IPAddress": address,
                    "portRange": str(port),
                    "loadBalancingScheme": scheme,
                    "target": f"{self.scope}/targetHttpProxies/web",
                },
            ),
        ]
        for collection, body in things:
            self.call("POST", f"{self.scope}/{collection}", {"name": "web", **body})
        yield
        for collection, _ in reversed(things):
            self.call("DELETE", f"{self.scope}/{collection}/web")

    # ------------------------------------------------------------------------------------- as a client

    async def ask(self, port: int, headers: list[str]) -> list[str]:
        """Which machine answers each request with such a header line; its status where none does."""
        fronts = await asyncio.to_thread(self.rig.fronts)
        (url,) = [each["url"] for each in fronts if each["url"].endswith(f":{port}/")]
        found = []
        async with aiohttp.ClientSession() as session:
            for header in headers:
                name, _, value = header.partition(": ")
                async with session.get(url, headers={name: value} if name else {}) as answer:
                    found.append(answer.headers.get("X-Rig-Instance", str(answer.status)))
        return found
