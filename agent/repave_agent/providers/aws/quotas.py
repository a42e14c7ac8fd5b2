"""Quotas of vCPUs of an AWS account in a region: which one counts for an instance type, how much of it is
used, and whether more instances fit. Amazon counts on-demand and spot instances apart, and each by families.
"""

import re
from collections import Counter
from typing import Any, Protocol

from repave_agent.core.ports import ProviderError, RefusedError, TransientError

FAMILY = re.compile(r"(?:u-|[a-z]+)")
STANDARD = "acdhimrtz"
TYPES_MAX = 100
"""So many types one call describes."""
ON_DEMAND = {
    "standard": "L-1216C47A",
    "dl": "L-6E869C2A",
    "f": "L-74FC7D96",
    "g and vt": "L-DB2E81BA",
    "high memory": "L-43DA4232",
    "hpc": "L-F7808C92",
    "inf": "L-1945791B",
    "p": "L-417A185B",
    "trn": "L-2C3B7624",
    "x": "L-7295265B",
}
SPOT = {
    "standard": "L-34B43A08",
    "dl": "L-85EED4F7",
    "f": "L-88CF9481",
    "g and vt": "L-3819A6DF",
    "inf": "L-B5D1601B",
    "p": "L-7212CCBC",
    "trn": "L-6B0D517C",
    "x": "L-E3A00192",
}
"""Codes of Service Quotas, by what Amazon calls the families."""
NAMED = {"g": "g and vt", "gr": "g and vt", "vt": "g and vt", "u": "high memory", "u-": "high memory"}


class Asking(Protocol):
    """A service of AWS, as clients/aws has it."""

    async def call(self, name: str, **wanted: Any) -> dict[str, Any]: ...

    async def list_all(self, name: str, what: str, **wanted: Any) -> list[dict[str, Any]]: ...


def families_of(instance_type: str) -> str:
    """Those that share a quota with it; "" where it is none that is known."""
    found = FAMILY.match(instance_type)
    letters = found[0] if found else ""
    named = NAMED.get(letters, letters)
    if named in ON_DEMAND and named != "standard":
        return named
    return "standard" if letters and letters[0] in STANDARD and letters != "mac" else ""


def quota_of(instance_type: str, is_spot: bool) -> str:
    """Its code; "" where it is not known."""
    if is_spot and re.match(r"p[5-9]", instance_type):  # has one of its own since the fifth generation
        return ""
    return (SPOT if is_spot else ON_DEMAND).get(families_of(instance_type), "")


async def short_of(ec2: Asking, quotas: Asking, instance_type: str, hosts: int, is_spot: bool) -> str:
    """Of what there is too little for so many more, with figures; "" where there is room. Raises
    ProviderError where that can't be known."""
    code = quota_of(instance_type, is_spot)
    if not code:
        raise RefusedError(f"AWS: it is not known which quota of vCPUs counts for {instance_type}")
    try:
        most = float(
            (await quotas.call("get_service_quota", ServiceCode="ec2", QuotaCode=code))["Quota"]["Value"]
        )
    except TransientError:
        raise
    except ProviderError as error:
        raise RefusedError(
            f"the quota of vCPUs {code} can't be read: {error}. The agent needs the right "
            "servicequotas:GetServiceQuota, as in deploy/aws/policy.json"
        ) from error
    used, of_one = await _used(ec2, instance_type, is_spot)
    more = hosts * of_one
    if used + more <= most:
        return ""
    kind = f"{'spot' if is_spot else 'on-demand'} {families_of(instance_type)} instances"
    return f"vCPUs of {kind}: {used} of {most:g} are used, {more} more are needed"


async def _used(ec2: Asking, instance_type: str, is_spot: bool) -> tuple[int, int]:
    """vCPUs of all instances of the account that count for the same quota, and of one of this type."""
    wanted = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    listed = await ec2.list_all("describe_instances", "Reservations", Filters=wanted)
    there = Counter(
        each["InstanceType"]
        for reservation in listed
        for each in reservation["Instances"]
        if (each.get("InstanceLifecycle") == "spot") == is_spot
        and families_of(each["InstanceType"]) == families_of(instance_type)
    )
    vcpus = await _vcpus(ec2, sorted({*there, instance_type}))
    return sum(vcpus.get(each, 0) * number for each, number in there.items()), vcpus[instance_type]


async def _vcpus(ec2: Asking, types: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for first in range(0, len(types), TYPES_MAX):
        some = types[first : first + TYPES_MAX]
        answer = await ec2.list_all("describe_instance_types", "InstanceTypes", InstanceTypes=some)
        found |= {each["InstanceType"]: int(each["VCpuInfo"]["DefaultVCpus"]) for each in answer}
    return found
