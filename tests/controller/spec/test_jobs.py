"""Jobs in a spec: what is taken, what is refused and where, and where a job can't run."""

import pytest

from repave_controller.core.domain.jobs import Job
from repave_controller.spec.agreement import disagreements
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities, capability_words
from repave_protos.protocol.values import PROTOCOL_VERSION, Digest, Hello, RegionName

SPEC = """\
repave: 1
app: shop
artifact: {uri: ./shop}
host: {run: ./serve, env: {MODE: live}}
health: {http: {port: 8080}}
traffic: {port: 80}
regions: [{name: oslo, size: 4}, {name: paris, size: 1}]
waves: [{regions: paris}, {regions: rest}]
strategy: {blue_green: {}}
jobs: {before: [%s]}
"""
DIGEST = Digest("a" * 64)


def compiled(job: str) -> Job:
    spec, _ = load(SPEC % job, "repave.yaml")
    (found,) = compile_order(spec, DIGEST, "2.0").jobs.before
    return found


def test_a_job_has_its_words_its_bounds_and_the_first_region_of_the_first_wave() -> None:
    job = compiled(
        "{name: migrate, run: './migrate {version}', timeout: 90s, retries: 2, env: {APP: '{app}'}}"
    )
    assert job == Job("migrate", ("./migrate", "2.0"), 90.0, 2, (("APP", "shop"),), RegionName("paris"))
    assert compiled("{name: migrate, run: ./migrate, region: oslo}").region == "oslo"


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("{name: Migrate, run: ./x}", "jobs.before.0.name: must be a lower-case letter"),
        ("{name: migrate, run: ./x, timeout: 2d}", "jobs.before.0.timeout"),
        ("{name: migrate, run: ./x, retries: 11}", "jobs.before.0.retries"),
        ("{name: migrate, run: ./x, region: rome}", "jobs.before.0.region: rome is no region of this spec"),
        ("{name: migrate, run: ./x}, {name: migrate, run: ./y}", "migrate is there twice"),
        ("{name: migrate}", "jobs.before.0.run"),
    ],
)
def test_what_can_t_be_is_refused_with_its_place(job: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(SPEC % job, "repave.yaml")
    assert said in str(caught.value)


@pytest.mark.parametrize("runs_jobs", [True, False])
def test_a_region_that_can_t_tell_how_a_command_ended_gets_no_job(runs_jobs: bool) -> None:
    spec, _ = load(SPEC % "{name: migrate, run: ./x}", "repave.yaml")
    words = capability_words(ProviderAbilities(runs_jobs=runs_jobs), BalancerAbilities())
    said = {
        name: Hello(name, PROTOCOL_VERSION, "0.1.0", "aws", "aws_alb", words if name == "paris" else ())
        for name in (RegionName("oslo"), RegionName("paris"))
    }
    found = list(disagreements(spec, said))
    assert [each.field for each in found] == ([] if runs_jobs else ["jobs.before.0"])
    assert all("from before there were jobs is to be upgraded" in each.text for each in found)
