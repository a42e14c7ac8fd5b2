"""repave regions drain and undrain, over HTTP as a person gives them, and what other commands say of it."""

import json

import pytest

from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController


@pytest.fixture
def repave_in_dns(repave: CommandLine, controller: ServedController) -> CommandLine:
    controller.sessions.keeps_records = True
    assert repave.release("1.0").code == 0
    return repave


def test_a_region_is_drained_and_comes_back(repave_in_dns: CommandLine) -> None:
    repave = repave_in_dns
    ran = repave("regions", "drain", "paris", "hello", "--reason", "new switches")
    assert ran.code == 0
    assert ran.err == "hello is taken out of DNS in paris; see how far it is with: repave why hello\n"
    assert "clients may still come for up to 60 s, as resolvers remember it" in repave("why", "hello").out
    status = repave("status", "hello").out
    assert "paris" in status
    assert "out of DNS, clients may still come for" in status
    regions = json.loads(repave("status", "hello", "-o", "json").out)["region_items"]
    told = {each["name"]: each["dns"] for each in regions}
    assert (told["paris"]["state"], told["paris"]["drained_reason"]) == ("out", "new switches")
    assert (told["oslo"]["state"], told["oslo"]["drained"]) == ("in", False)
    assert "that is so already" in repave("regions", "drain", "paris", "hello").err
    assert "paris stays out of DNS (drained)" in repave.release("2.0", "--dry-run").out
    assert repave("regions", "undrain", "paris", "hello").code == 0
    assert "DRAINED" not in repave("status", "hello").out
    kinds = [json.loads(line)["kind"] for line in repave("events", "hello", "-o", "jsonl").out.splitlines()]
    assert kinds[-2:] == ["region.drained", "region.undrained"]


def test_the_last_region_takes_an_override_and_a_reason(repave_in_dns: CommandLine) -> None:
    repave = repave_in_dns
    assert repave("regions", "drain", "paris").out == ""
    refused = repave("regions", "drain", "oslo", "hello")
    assert refused.code != 0
    assert "oslo is the last region of hello in DNS, for paris is not in it" in refused.err
    assert "repave regions drain oslo hello --override --reason TEXT" in refused.err
    assert repave("regions", "drain", "oslo").code != 0
    assert "--reason" in repave("regions", "drain", "oslo", "hello", "--override").err
    assert "of one application" in repave("regions", "drain", "oslo", "--override", "--reason", "x").err
    assert repave("regions", "drain", "oslo", "hello", "--override", "--reason", "wrong data").code == 0
    assert "hello: back into DNS in oslo" in repave("regions", "undrain", "oslo").err


def test_regions_without_records_say_what_to_set(repave: CommandLine) -> None:
    assert repave.release("1.0").code == 0
    refused = repave("regions", "drain", "paris", "hello")
    assert refused.code != 0
    assert "set [dns] in its settings" in refused.err
    assert "no application has a record of paris in DNS" in repave("regions", "drain", "paris").err
