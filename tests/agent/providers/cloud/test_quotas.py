"""Whether there is room for more machines, by what AWS, Google and Azure say of an account's quotas."""

from typing import Any

import pytest

from repave_agent.core.ports import RefusedError, TransientError
from repave_agent.providers.aws.quotas import families_of, quota_of, short_of
from repave_agent.providers.azure.provider import short_of as short_on_azure
from repave_agent.providers.gcp.options import GcpOptions
from repave_agent.providers.gcp.provider import wanted_of

VCPUS = {"t3.small": 2, "m7i.xlarge": 4, "c7g.2xlarge": 8, "p4d.24xlarge": 96}
STANDARD, SPOT = "L-1216C47A", "L-34B43A08"


class Account:
    """EC2 and Service Quotas of one account. `there`: types of running instances; spot ones end with a *."""

    def __init__(self, limits: dict[str, float], *there: str) -> None:
        self.limits, self.there = limits, there
        self.error: Exception | None = None

    async def call(self, name: str, **wanted: Any) -> dict[str, Any]:
        assert (name, wanted["ServiceCode"]) == ("get_service_quota", "ec2")
        if self.error is not None:
            raise self.error
        return {"Quota": {"Value": self.limits[wanted["QuotaCode"]]}}

    async def list_all(self, name: str, what: str, **wanted: Any) -> list[dict[str, Any]]:
        if name == "describe_instance_types":
            named = wanted["InstanceTypes"]
            return [{"InstanceType": each, "VCpuInfo": {"DefaultVCpus": VCPUS[each]}} for each in named]
        instances = [
            {"InstanceType": each.rstrip("*"), **({"InstanceLifecycle": "spot"} if "*" in each else {})}
            for each in self.there
        ]
        return [{"Instances": instances}]


async def asked(account: Account, kind: str, hosts: int, is_spot: bool = False) -> str:
    return await short_of(account, account, kind, hosts, is_spot)


async def test_vcpus_of_all_families_that_share_a_quota_count_and_no_others() -> None:
    there = ("t3.small", "c7g.2xlarge", "p4d.24xlarge", "m7i.xlarge*")
    account = Account({STANDARD: 18.0, SPOT: 4.0}, *there)
    assert await asked(account, "m7i.xlarge", 2) == ""
    said = "vCPUs of on-demand standard instances: 10 of 18 are used, 12 more are needed"
    assert await asked(account, "m7i.xlarge", 3) == said
    said = "vCPUs of spot standard instances: 4 of 4 are used, 2 more are needed"
    assert await asked(account, "t3.small", 1, is_spot=True) == said


async def test_what_can_not_be_known_is_no_yes() -> None:
    account = Account({STANDARD: 100.0})
    with pytest.raises(RefusedError, match=r"not known which quota of vCPUs counts for mac1\.metal"):
        await asked(account, "mac1.metal", 1)
    account.error = RefusedError("AWS: get_service_quota: AccessDeniedException: not authorized")
    with pytest.raises(RefusedError, match=r"L-1216C47A can't be read: .*servicequotas:GetServiceQuota"):
        await asked(account, "t3.small", 1)
    account.error = TransientError("AWS: get_service_quota: no answer")
    with pytest.raises(TransientError, match="no answer"):
        await asked(account, "t3.small", 1)


@pytest.mark.parametrize(
    ("kind", "families", "on_demand", "spot"),
    [
        ("a1.large", "standard", STANDARD, SPOT),
        ("im4gn.large", "standard", STANDARD, SPOT),
        ("is4gen.large", "standard", STANDARD, SPOT),
        ("d3en.xlarge", "standard", STANDARD, SPOT),
        ("h1.2xlarge", "standard", STANDARD, SPOT),
        ("t4g.micro", "standard", STANDARD, SPOT),
        ("hpc6a.48xlarge", "hpc", "L-F7808C92", ""),
        ("inf2.xlarge", "inf", "L-1945791B", "L-B5D1601B"),
        ("dl1.24xlarge", "dl", "L-6E869C2A", "L-85EED4F7"),
        ("f2.6xlarge", "f", "L-74FC7D96", "L-88CF9481"),
        ("g5.xlarge", "g and vt", "L-DB2E81BA", "L-3819A6DF"),
        ("gr6.4xlarge", "g and vt", "L-DB2E81BA", "L-3819A6DF"),
        ("vt1.3xlarge", "g and vt", "L-DB2E81BA", "L-3819A6DF"),
        ("trn1.2xlarge", "trn", "L-2C3B7624", "L-6B0D517C"),
        ("x2idn.16xlarge", "x", "L-7295265B", "L-E3A00192"),
        ("u-6tb1.56xlarge", "high memory", "L-43DA4232", ""),
        ("u7i-12tb.224xlarge", "high memory", "L-43DA4232", ""),
        ("p4d.24xlarge", "p", "L-417A185B", "L-7212CCBC"),
        ("p5.48xlarge", "p", "L-417A185B", ""),
        ("mac2.metal", "", "", ""),
        ("q9.large", "", "", ""),
    ],
)
def test_each_instance_type_has_the_quota_of_its_family(
    kind: str, families: str, on_demand: str, spot: str
) -> None:
    assert (families_of(kind), quota_of(kind, False), quota_of(kind, True)) == (families, on_demand, spot)


def test_google_counts_families_disks_addresses_and_spot_apart() -> None:
    limits = {"INSTANCES": 100.0, "CPUS": 100.0, "N2_CPUS": 10.0}
    assert wanted_of(GcpOptions(), "e2-small", 2, 3, limits, is_spot=False) == {"INSTANCES": 3, "CPUS": 6}
    options = GcpOptions(disk_gb=20, disk_type="pd-ssd", public_address=True)
    assert wanted_of(options, "n2-standard-4", 4, 3, limits, is_spot=False) == {
        "INSTANCES": 3,
        "N2_CPUS": 12,
        "SSD_TOTAL_GB": 60,
        "IN_USE_ADDRESSES": 3,
    }
    spot = {**limits, "PREEMPTIBLE_CPUS": 50.0}
    assert wanted_of(GcpOptions(disk_gb=10), "n2-standard-4", 4, 1, spot, is_spot=True) == {
        "INSTANCES": 1,
        "PREEMPTIBLE_CPUS": 4,
        "DISKS_TOTAL_GB": 10,
    }
    none = {**limits, "PREEMPTIBLE_CPUS": 0.0}
    assert "N2_CPUS" in wanted_of(GcpOptions(), "n2-standard-4", 4, 1, none, is_spot=True)


def test_azure_counts_machines_cores_and_the_family_s_cores() -> None:
    def row(name: str, used: int, most: int) -> dict[str, Any]:
        return {"name": {"value": name, "localizedValue": name}, "currentValue": used, "limit": most}

    family = "standardBSFamily"
    usages = [
        row("cores", 4, 100),
        row(family, 4, 10),
        row("virtualMachines", 2, 100),
        row("lowPriorityCores", 0, 3),
        row("standardDSv5Family", 0, 0),
    ]
    assert short_on_azure(usages, 3, 2, family, is_spot=False) == ""
    said = f"{family}: 4 of 10 are used, 8 more are needed"
    assert short_on_azure(usages, 4, 2, "StandardBSFamily", is_spot=False) == said
    assert "lowPriorityCores: 0 of 3" in short_on_azure(usages, 2, 2, family, is_spot=True)
    assert short_on_azure(usages, 1, 2, family, is_spot=True) == ""
