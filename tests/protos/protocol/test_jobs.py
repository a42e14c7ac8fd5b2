"""Attempts of jobs on the wire: what is said arrives, and what breaks the protocol is refused."""

import pytest

from repave_protos.protocol import fleet_pb2 as pb
from repave_protos.protocol.bounds import WireError
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredJob,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    HostName,
    JobId,
    JobReport,
    Report,
    contradictions,
    is_job_host,
)
from repave_protos.protocol.wire import (
    decode_from_agent,
    encode_from_agent,
)
from repave_protos.protocol.wire_desired import desired, desired_message
from tests.fakes.templates import a_template

SHOP = ApplicationName("shop")
JOB = DesiredJob(
    JobId(2, 7),
    "migrate",
    GroupName("shop-v001"),
    Digest("a" * 64),
    a_template(("./up",)),
    60.0,
    "journal",
    True,
    5.0,
)
STATE = DesiredState(SHOP, Epoch(1, 2, 3), 0, (), jobs=(JOB,))


def test_an_attempt_arrives_as_it_was_sent() -> None:
    assert desired(desired_message(STATE)) == STATE


@pytest.mark.parametrize("state", ["ready", "running", "succeeded", "failed", "stopped", "unknown"])
def test_a_report_arrives_as_it_was_sent(state: str) -> None:
    job = JobReport(JobId(2, 7), state, "journal", -9 if state == "failed" else None, "why", "end")  # type: ignore[arg-type]
    report = Report(1, True, (ApplicationReport(SHOP, Epoch(1, 2, 3), jobs=(job,)),), "0" * 16)
    assert decode_from_agent(encode_from_agent(report)) == report


def test_a_state_of_a_later_version_is_unknown() -> None:
    job = JobReport(JobId(2, 7), "failed")
    report = Report(1, True, (ApplicationReport(SHOP, Epoch(1, 2, 3), jobs=(job,)),), "0" * 16)
    message = pb.FromAgent.FromString(encode_from_agent(report))
    message.report.applications[0].jobs[0].state = 99  # type: ignore[assignment]
    arrived = decode_from_agent(message.SerializeToString())
    assert isinstance(arrived, Report)
    assert arrived.applications[0].jobs[0].state == "unknown"


def test_an_attempt_without_a_number_breaks_the_protocol() -> None:
    message = desired_message(STATE)
    message.jobs[0].id.number = 0
    with pytest.raises(WireError, match=r"DesiredJob\.id"):
        desired(message)


def test_no_attempt_is_desired_twice() -> None:
    twice = DesiredState(SHOP, Epoch(1, 2, 3), 0, (), jobs=(JOB, JOB))
    assert contradictions(twice) == ["an attempt of a job appears twice"]


def test_the_host_of_an_attempt_is_told_from_those_of_groups() -> None:
    assert JOB.host == "shop-v001-job-2-7"
    assert is_job_host(JOB.host)
    for other in ("shop-v001-1", "shop-job-v001-1", "my-job-1-v002-3"):
        assert not is_job_host(HostName(other))
