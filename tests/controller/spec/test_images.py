"""Specs of OCI images: what runs on a host, and what a job runs."""

import re

from repave_controller.spec.loader import load
from repave_controller.spec.places import CONTAINER
from repave_controller.spec.spec import artifact_path, compile_order, remote_artifact
from repave_protos.protocol.values import Digest
from tests.controller.spec.wrong_specs import GOOD

IMAGE = "registry.example.com:5000/team/shop:v1@sha256:" + "5" * 64
JOBS = "jobs:\n  before: [{name: migrate, run: /migrate --all}]\n"
DIGEST = Digest("d" * 64)


def spec_of(text: str) -> str:
    return re.sub("uri: ./app", f'oci: "{IMAGE}"', GOOD) + text


def test_a_host_runs_the_image_with_its_own_command_or_the_specs() -> None:
    given, _ = load(spec_of(""), "repave.yaml")
    assert compile_order(given, DIGEST, "v1").template.run == (CONTAINER, "./serve")
    own, _ = load(spec_of("").replace("  run: ./serve\n", ""), "repave.yaml")
    assert compile_order(own, DIGEST, "v1").template.run == (CONTAINER,)


def test_jobs_run_in_the_image() -> None:
    spec, _ = load(spec_of(JOBS), "repave.yaml")
    (job,) = compile_order(spec, DIGEST, "v1").jobs.before
    assert job.run == (CONTAINER, "/migrate", "--all")


def test_the_controller_brings_the_package_of_an_image() -> None:
    spec, _ = load(spec_of(""), "repave.yaml")
    assert remote_artifact(spec, "").uri == artifact_path(spec, "v1") == f"oci://{IMAGE}"
