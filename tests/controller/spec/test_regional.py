"""What hosts are made of in one region: `host`, and over it what the region says."""

import pytest

from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.spec.agreement import disagreements
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities, capability_words
from repave_protos.protocol.values import PROTOCOL_VERSION, Digest, Hello, RegionName

SPEC = """\
repave: 1
app: shop
artifact: {uri: ./shop}
host:
  run: ./serve%(host)s
health: {http: {port: 8080}}
traffic: {port: 80}
regions:
- {name: paris, size: 4%(paris)s}
- {name: oslo, size: 2%(oslo)s}
strategy: {blue_green: {}}
"""
OSLO, PARIS = RegionName("oslo"), RegionName("paris")
MANY = "env:\n" + "\n".join(f"  A{number}: x" for number in range(256))


def text(host: str = "", paris: str = "", oslo: str = "") -> str:
    lines = "".join(f"\n  {each}" for each in host.splitlines())
    return SPEC % {"host": lines, "paris": paris and f", {paris}", "oslo": oslo and f", {oslo}"}


def order(host: str = "", paris: str = "", oslo: str = "") -> ReleaseOrder:
    spec, _ = load(text(host, paris, oslo), "repave.yaml")
    return compile_order(spec, Digest("0" * 64), "1.2")


def told(host: str = "", paris: str = "", oslo: str = "") -> str:
    with pytest.raises(SpecError) as caught:
        load(text(host, paris, oslo), "repave.yaml")
    return str(caught.value)


def test_regions_that_say_nothing_are_made_as_host_says() -> None:
    asked = order("env: {A: x}\nimage: debian")
    assert len(asked.overlays) == 0
    assert asked.template_in(OSLO) == asked.template


def test_a_variable_of_a_region_is_beside_those_of_all_and_over_them() -> None:
    asked = order("env: {A: x, B: y}", oslo="env: {B: '{version}', C: z}")
    assert asked.template.environment == asked.template_in(PARIS).environment == (("A", "x"), ("B", "y"))
    assert asked.template_in(OSLO).environment == (("A", "x"), ("B", "1.2"), ("C", "z"))


def test_a_region_s_name_is_put_in() -> None:
    asked = order("env: {URL: 'https://db.{region}.internal/{app}'}\nimage: 'web-{version}-{region}'")
    assert asked.template_in(OSLO).environment == (("URL", "https://db.oslo.internal/shop"),)
    assert asked.template_in(PARIS).machine_image == "web-1.2-paris"


def test_machines_of_a_region_may_be_others() -> None:
    asked = order("image: a\nsize: [l, m]", oslo="host: {image: b, size: xl, spot: true}")
    there = asked.template_in(OSLO)
    assert (there.machine_image, there.machine_sizes, there.is_spot) == ("b", ("xl",), True)
    assert asked.template_in(PARIS) == asked.template
    assert order("image: a", oslo="host: {image: local}").template_in(OSLO).machine_image == ""
    assert order("spot: true", oslo="host: {spot: false}").template_in(OSLO).is_spot is False


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"oslo": "env: {PORT: 1}"}, "10:37: regions.1.env.PORT: must be text"),
        ({"oslo": "env: {PORT: '1'}"}, "regions.1.env.PORT: is set by repave; choose another name"),
        ({"oslo": "env: {A-B: '1'}"}, "regions.1.env.A-B: 'A-B' can't name a variable"),
        ({"oslo": "env: {A: '{group}'}"}, "regions.1.env.A: {group} is not known here"),
        (
            {"host": "secrets: {KEY: {env: X_Y, as: file}}", "paris": "env: {KEY_FILE: x}"},
            "regions.0.env.KEY_FILE: KEY_FILE is set by host.secrets.KEY: leave it out of one",
        ),
        (
            {"host": "image: local", "oslo": "host: {size: xl}"},
            "regions.1.host.size: a host on what is",
        ),
        (
            {"host": "size: xl", "oslo": "host: {image: local}"},
            "regions.1.host.image: a host on what is",
        ),
        ({"oslo": "host: {image: local, spot: true}"}, "regions.1.host.spot: a host on what is"),
        (
            {"oslo": "host: {run: ./other}"},
            "regions.1.host.run: unknown option; there are: image,",
        ),
        ({"host": MANY, "oslo": "env: {B: x}"}, "regions.1.env: with host.env these are more than 256"),
    ],
    ids=str,
)
def test_what_can_not_be_is_told_by_its_place(written: dict[str, str], why: str) -> None:
    assert why in told(**written)


def test_each_region_is_held_to_its_own_agent() -> None:
    spec, _ = load(text("image: local", oslo="host: {image: debian, size: xl}"), "repave.yaml")
    capabilities = capability_words(ProviderAbilities(takes_machine_images=True), BalancerAbilities())
    agents = {
        name: Hello(name, PROTOCOL_VERSION, "0.2.0", "any", "haproxy", capabilities) for name in (OSLO, PARIS)
    }
    assert [each.field for each in disagreements(spec, agents)] == ["host.image", "regions.1.host.size"]
