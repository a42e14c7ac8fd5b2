"""Public clouds that a `profile:` of clouds.yaml may name without clouds-public.yaml: those that openstacksdk
knows too and that still run, but not those whose place is fetched from the vendor.
"""

from collections.abc import Mapping
from typing import Any

PLACES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "auro": ("https://api.van2.auro.io:5000/v3", ("RegionOne",)),
    "binero": ("https://auth.binero.cloud:5000/v3", ("europe-se-1",)),
    "citycloud": (
        "https://{region_name}.citycloud.com:5000/v3/",
        ("Buf1", "Fra1", "Sto2", "Kna1", "dx1", "tky1"),
    ),
    "conoha": ("https://identity.{region_name}.conoha.io", ("sin1", "sjc1", "tyo1")),
    "dreamcompute": ("https://iad2.dream.io:5000", ("RegionOne",)),
    "elastx": ("https://ops.elastx.cloud:5000/v3", ("se-sto",)),
    "limestonenetworks": ("https://auth.cloud.lstn.net:5000/v3", ("us-dfw-1",)),
    "otc": ("https://iam.{region_name}.otc.t-systems.com/v3", ("eu-de", "eu-nl")),
    "otc-swiss": ("https://iam-pub.eu-ch2.sc.otc.t-systems.com/v3", ("eu-ch2",)),
    "ovh-us": (
        "https://auth.cloud.ovh.us/",
        ("US-EAST-VA-1", "US-WEST-OR-1", "US-EAST-VA", "US-WEST-OR"),
    ),
    "switchcloud": ("https://identity.compute.cloud.switch.ch/v3", ("zhw", "zhc")),
    "switchengines": ("https://keystone.cloud.switch.ch:5000/v3", ("LS", "ZH")),
    "zetta": ("https://identity.api.zetta.io/v3", ("no-osl1",)),
}
"""Where Keystone answers, and the regions, of which the first one counts unless the cloud names another."""


def vendor(name: str) -> dict[str, Any]:
    """As clouds-public.yaml would say it; {} for an unknown one."""
    if name not in PLACES:
        return {}
    url, regions = PLACES[name]
    return {"auth": {"auth_url": url}, "regions": list(regions)}
