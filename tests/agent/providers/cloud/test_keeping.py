"""Which baked images are too old to be kept."""

import pytest

from repave_agent.providers.cloud.baking import BakeMarks, CloudImage, ImageState
from repave_agent.providers.cloud.keeping import DAY_SECONDS, family_of, outlived
from repave_agent.settings import ImagesSettings
from repave_protos.protocol.values import Digest, RegionName, short_digest

NOW = 1_800_000_000.0
DIGEST = Digest("a" * 64)


def image(name: str, days: float, *, digest: str = "a", is_ours: bool = True) -> CloudImage:
    marks = BakeMarks("ours", RegionName("here"), Digest(digest * 64), "base", name, "ann", 0)
    made_at = NOW - days * DAY_SECONDS
    return CloudImage(f"{name}/{days:g}", marks, ImageState.WHOLE, is_ours, made_at)


def gone(*images: CloudImage, keep: int = 1, days: float = 30.0, needed: str = "") -> list[str]:
    kept = ImagesSettings(keep=keep, days=days)
    return [each.id for each in outlived(images, {Digest(needed * 64)}, kept, NOW)]


def test_the_newest_of_each_application_stay_and_all_that_are_young() -> None:
    shop = [image(f"shop-{days:g}", days) for days in (1, 29, 31, 40)]
    assert gone(*shop, keep=1) == ["shop-31/31", "shop-40/40"]
    assert gone(*shop, keep=3) == ["shop-40/40"]
    assert gone(*shop, keep=4) == []
    assert gone(*shop, image("blog-1", 90), keep=1, days=0.0) == ["shop-29/29", "shop-31/31", "shop-40/40"]


def test_none_goes_where_all_are_kept_and_none_that_is_needed_half_made_or_another_region_s() -> None:
    new, old = image("shop-2", 0), image("shop-1", 99, digest="b")
    assert gone(new, old) == [old.id]
    assert gone(new, old, keep=0) == []
    assert gone(new, old, needed="b") == []
    assert gone(new, image("shop-1", 99, is_ours=False)) == []


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (f"shop-{short_digest(DIGEST)}", "shop"),
        ("shop-1", "shop"),
        ("shop-1.2.3-rc1", "shop"),
        ("shop_v2", "shop"),
        ("shop.2026.11", "shop"),
        ("my-shop", "my-shop"),
        ("shop-eu", "shop-eu"),
        ("s3-proxy-1", "s3-proxy"),
        ("7zip", "7zip"),
    ],
)
def test_images_of_one_application_are_told_by_their_names(name: str, family: str) -> None:
    assert family_of(image(name, 0)) == family
