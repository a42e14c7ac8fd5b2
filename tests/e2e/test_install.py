"""docs/install.md as it stands, on three machines that share nothing but a network; then what happens to them
while clients ask. Run by `make test-rigs`."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.docs.markdown import Block, blocks
from tests.support.machines import Machine, Network, debian, do, machines, why_not
from tests.support.paths import EXAMPLE, ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.timeout(1200)]
ADDRESSES = {"controller": "10.0.0.10", "paris": "10.0.0.11", "oslo": "10.0.0.12", "client": "10.0.0.20"}
URL = "https://repave.example.com:7400"
NEXT = "0.1.1~next"
CUT_SECONDS, READY_SECONDS = 150.0, 60.0


@dataclass
class Installation:
    """The machines by name, and the network between them."""

    network: Network
    machines: dict[str, Machine]

    def run(self, block: Block, region: str = "paris") -> str:
        """A block of the document, on the machine that it is for; what it does for paris, for this region."""
        text = block.text.replace("paris", region).replace(ADDRESSES["paris"], ADDRESSES[region])
        return self.machines[region if block.machine == "paris" else block.machine].shell(text)

    def repave(self, words: str) -> str:
        """As the person at the controller."""
        return self.machines["controller"].shell(f"REPAVE_URL={URL} repave {words}")

    def connected(self) -> list[str]:
        """The regions that are."""
        known = json.loads(self.repave("regions -o json"))["items"]
        return [each["name"] for each in known if each["connected"]]

    def until(self, condition: Callable[[], bool], what: str, seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds + 1.0
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
            time.sleep(0.5)

    def until_whole(self) -> None:
        self.until(lambda: self.connected() == ["oslo", "paris"], "both regions")

    @contextmanager
    def clients(self, out: Path) -> Iterator[None]:
        """They ask in both regions, from a place of their own, as long as the block; none may fail."""
        inside = ["nsenter", f"--net=/run/netns/{self.network.namespace('client')}", "--", sys.executable]
        load = [*inside, "-m", "tests.support.load", "--rate", "50", "--out"]
        asking = [
            subprocess.Popen(
                [*load, str(out / region), "--url", f"http://{ADDRESSES[region]}:8000/"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
            )
            for region in ("paris", "oslo")
        ]
        try:
            yield
        finally:
            for each in asking:
                each.send_signal(signal.SIGTERM)
            told = [each.communicate()[0].decode() for each in asking]
        for region, text in zip(("paris", "oslo"), told, strict=True):
            summary = json.loads(text)
            assert summary["requests"] > 0
            assert (summary["failed"], summary["given_up"]) == (0, 0), f"{region}: {text}"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    if reason := why_not():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("machines")
    for folder in (directory, *directory.parents[:2]):
        folder.chmod(0o755)
    do(sys.executable, "-m", "deploy.debian")
    network = Network("rpi")
    with debian(directory / "base") as base, network.made(ADDRESSES):
        for name in ("old", "new"):
            (base / "root" / name).mkdir()
        for package in (ROOT / "dist").glob("*.deb"):
            shutil.copy(package, base / "root")
            shutil.copy(package, base / "root/old")
            shutil.copy(following(package, directory / "following"), base / "root/new")
        shutil.copytree(EXAMPLE, base / "root/hello")
        with (base / "etc/hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 localhost\n{ADDRESSES['controller']} repave.example.com\n")
        with machines(directory, base, network, ("controller", "paris", "oslo")) as made:
            yield Installation(network, made)


def test_three_machines_serve_through_all_that_happens_between_them(
    installation: Installation, tmp_path: Path
) -> None:
    controller, log_in, join, agent, look, release, again = [
        block for block in blocks() if block.document == "install.md" and block.machine
    ]
    installation.run(controller)
    assert "admin" in installation.run(log_in)
    for region in ("paris", "oslo"):
        line = installation.run(join, region)
        installation.run(agent, region)
        installation.machines[region].shell(f"{line}\nsystemctl enable --quiet --now repave-agent")
    installation.until_whole()
    installation.run(look)
    installation.run(release)
    with installation.clients(tmp_path):
        installation.run(again)
        happens_to_the_network(installation)
        happens_to_an_agent(installation)
        happens_to_a_certificate(installation)
        happens_to_the_version(installation)
    assert "serving" in installation.repave("groups hello")
    oslo = installation.machines["oslo"]
    oslo.shell("apt-get remove --yes repave-agent repave; test ! -e /usr/lib/repave")
    oslo.shell("test -s /var/lib/repave-agent/journal.json")


def happens_to_the_network(installation: Installation) -> None:
    """The controller can't be reached for minutes, then it is restarted; both regions are there again."""
    controller, until = installation.machines["controller"], time.monotonic() + CUT_SECONDS
    installation.network.cut(controller, is_cut=True)
    installation.until(lambda: installation.connected() == [], "the end of both streams", CUT_SECONDS)
    installation.until(lambda: time.monotonic() > until, "the end of the cut", CUT_SECONDS)
    installation.network.cut(controller, is_cut=False)
    installation.until_whole()
    controller.shell("systemctl restart repave-controller")  # it is back when it is ready
    installation.until_whole()


def happens_to_the_version(installation: Installation) -> None:
    """As docs/upgrade.md says: the next version, and on the controller's machine the way back."""
    controller, agent, back, recover = [
        block for block in blocks() if block.document == "upgrade.md" and block.machine
    ]
    installation.run(controller)
    installation.until_whole()
    for region in ("paris", "oslo"):
        assert "active" in installation.run(agent, region)
        installation.until_whole()
    assert NEXT in installation.machines["oslo"].shell("dpkg-query --show repave-agent")
    installation.run(back)
    installation.until_whole()
    assert "hello-v003  serving" in installation.run(recover)
    installation.repave("release --version 4.0 hello/repave.yaml")


def following(package: Path, scratch: Path) -> Path:
    """The same package as the next version."""
    name, version, _ = package.name.split("_")
    tree, made = scratch / name, scratch / package.name.replace(version, NEXT)
    scratch.mkdir(exist_ok=True)
    do("dpkg-deb", "--raw-extract", str(package), str(tree))
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(version, NEXT))
    do("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(made))
    return made


def happens_to_an_agent(installation: Installation) -> None:
    """It is revoked, its region serves on, and it joins again."""
    installation.repave("agents revoke oslo")
    installation.until(lambda: installation.connected() == ["paris"], "the end of the stream")
    line = installation.repave("agents join oslo")
    installation.machines["oslo"].shell(line)
    installation.until_whole()
    installation.repave("release --version 3.0 hello/repave.yaml")


def happens_to_a_certificate(installation: Installation) -> None:
    """It expires while its agent is off: the region serves on, the log says what to do, and that helps."""
    oslo = installation.machines["oslo"]
    oslo.shell("systemctl stop repave-agent")
    kept = json.loads(oslo.shell("cat /var/lib/repave-agent/identity.json"))
    authority = installation.machines["controller"].shell("cat /var/lib/repave/security/authority-*.pem")
    expired = json.dumps({**kept, "certificate": expired_like(kept["certificate"], authority)})
    oslo.shell(
        f"cat > /var/lib/repave-agent/identity.json <<'EOF'\n{expired}\nEOF\nsystemctl start repave-agent"
    )
    logged = "journalctl --no-pager --output=cat --unit=repave-agent"
    said = "certificate expired 2 h ago; the region serves on, and nothing new can be released to it"
    installation.until(lambda: said in oslo.shell(logged), "what the log says")
    assert "let it join again (repave agents join oslo)" in oslo.shell(logged)
    assert installation.connected() == ["paris"]
    oslo.shell(installation.repave("agents join oslo"))
    installation.until_whole()


def expired_like(certificate: str, authority: str) -> str:
    """The same certificate by the same authority, but for its time."""
    former = x509.load_pem_x509_certificate(certificate.encode())
    issuer = x509.load_pem_x509_certificate(authority.encode())
    key = serialization.load_pem_private_key(authority.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(former.subject)
        .issuer_name(issuer.subject)
        .public_key(former.public_key())
        .serial_number(former.serial_number)
        .not_valid_before(now - timedelta(hours=74))
        .not_valid_after(now - timedelta(hours=2, minutes=1))
    )
    for extension in former.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
