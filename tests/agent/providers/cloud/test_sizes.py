"""Words of the settings stand for a cloud's sizes; a size that there is not is named with those there are."""

from typing import Any

import pytest
from pydantic import ValidationError

from repave_agent.core.ports import MisfitError
from repave_agent.providers.aws.options import AwsOptions
from repave_agent.providers.azure.options import AzureMachineOptions
from repave_agent.providers.cloud.sizes import SizeChart
from repave_agent.providers.gcp.options import GcpOptions

CHART = SizeChart("aws.sizes", {"xl": ("m7i.2xlarge", "m6i.2xlarge"), "l": ("m7i.xlarge",)}, ("t3.micro",))


@pytest.mark.parametrize(
    ("asked", "sizes"),
    [
        ((), ("t3.micro",)),
        (("xl",), ("m7i.2xlarge", "m6i.2xlarge")),
        (("l", "xl"), ("m7i.xlarge", "m7i.2xlarge", "m6i.2xlarge")),
        (("c7i.large",), ("c7i.large",)),
        (("m6i.2xlarge", "xl"), ("m6i.2xlarge", "m7i.2xlarge")),
    ],
)
def test_the_spec_s_sizes_come_before_the_region_s_own_and_each_once(
    asked: tuple[str, ...], sizes: tuple[str, ...]
) -> None:
    assert CHART.sizes(asked) == sizes


async def there_is_a_large(name: str) -> bool:
    return name == "c7i.large"


async def test_the_cloud_is_asked_for_its_own_names_only() -> None:
    assert CHART.meant() == ("m7i.2xlarge", "m6i.2xlarge", "m7i.xlarge")
    await CHART.check(("xl", "l", "c7i.large"), there_is_a_large, "instance type")
    with pytest.raises(MisfitError) as caught:
        await CHART.check(("xxl", "xl", "c9.none"), there_is_a_large, "instance type")
    assert str(caught.value) == (
        "host.size: there is no instance type xxl or c9.none here, and no such word among aws.sizes in the "
        "agent's settings; there: l, xl"
    )


async def test_where_no_words_are_set_it_says_so() -> None:
    with pytest.raises(MisfitError, match=r"among gcp\.sizes in the agent's settings; there: none"):
        await SizeChart("gcp.sizes", {}, ("e2-small",)).check(("xl",), there_is_a_large, "machine type")


@pytest.mark.parametrize("options", [AwsOptions, AzureMachineOptions, GcpOptions])
@pytest.mark.parametrize(
    ("written", "words"),
    [
        (
            {"xl": ["a.2xlarge", "b.2xlarge"], "l": "a.large"},
            {"xl": ("a.2xlarge", "b.2xlarge"), "l": ("a.large",)},
        ),
        ("xl=a.2xlarge,b.2xlarge l=a.large", {"xl": ("a.2xlarge", "b.2xlarge"), "l": ("a.large",)}),
        ("'xl=m1 large'", {"xl": ("m1 large",)}),
        ({}, {}),
        ("", {}),
    ],
)
def test_words_are_a_table_or_pairs(options: Any, written: object, words: dict[str, tuple[str, ...]]) -> None:
    assert options.model_validate({"sizes": written}).sizes == words


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["xl"], "write words and what they stand for"),
        ("xl", "write pairs"),
        ({"xl": []}, "xl stands for no size"),
        ({"xl": ""}, "xl stands for no size"),
        ({"xl": 4}, "xl stands for no size"),
        ({"xl": ["a", ""]}, "xl stands for no size"),
        ("xl=", "xl stands for no size"),
        ("xl=a,,b", "xl stands for no size"),
        ("=a", "a word stands for no size"),
    ],
)
def test_words_that_stand_for_nothing_are_refused(written: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GcpOptions.model_validate({"sizes": written})
