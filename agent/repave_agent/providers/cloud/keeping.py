"""Which baked images are too old to be kept. Hosts of a package without an image fetch it, so removing one
costs time and no release.
"""

import re
from collections.abc import Collection, Iterable
from itertools import groupby

from repave_agent.providers.cloud.baking import CloudImage, ImageState
from repave_agent.settings import ImagesSettings
from repave_protos.protocol.values import Digest, short_digest

DAY_SECONDS = 86_400.0
VERSION = re.compile(r"[-_.]v?\d[0-9A-Za-z.+-]*")


def outlived(
    images: Iterable[CloudImage], needed: Collection[Digest], kept: ImagesSettings, now: float
) -> list[CloudImage]:
    """Those that go, of what this region baked. `needed`: packages of what is released or runs here."""
    if not kept.keep:
        return []
    ours = [each for each in images if each.is_ours and each.state is ImageState.WHOLE]
    ours.sort(key=lambda each: (family_of(each), -each.made_at, -each.marks.at, each.id))
    old: list[CloudImage] = []
    for _, family in groupby(ours, family_of):
        old += list(family)[kept.keep :]
    oldest = now - kept.days * DAY_SECONDS
    return [each for each in old if each.made_at < oldest and each.marks.digest not in needed]


def family_of(image: CloudImage) -> str:
    """The name without its version: images of one application follow one another under it."""
    name = image.marks.name.removesuffix(f"-{short_digest(image.marks.digest)}")
    found = VERSION.search(name)
    return name[: found.start()] if found and found.start() else name
