"""Certificates of fronts in a spec: what an agent gets, and what is refused in which words."""

import pytest

from repave_controller.spec.agreement import disagreements
from repave_controller.spec.loader import load
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities, capability_words
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.values import PROTOCOL_VERSION, Hello, RegionName
from tests.controller.spec.test_fronts import SPEC, order, problems

OSLO = RegionName("oslo")


def traffic(certificate: str, more: str = ", match: {host: shop.example.com}, redirect_from: 80") -> str:
    return f"{{fronts: [{{port: 443, protocol: https, certificate: {certificate}{more}}}]}}"


@pytest.mark.parametrize(
    ("written", "reference"),
    [
        ("{file: '/etc/tls/{region}/shop.pem'}", CertificateReference("file", "/etc/tls/{region}/shop.pem")),
        (
            "{directory: /etc/letsencrypt/live/shop}",
            CertificateReference("directory", "/etc/letsencrypt/live/shop"),
        ),
        ("{vault: 'kv/{region}/shop#pem'}", CertificateReference("vault", "kv/{region}/shop#pem")),
        ("{acme: {}}", CertificateReference("acme", "http-01")),
        (
            "{acme: {by: dns-01, names: ['*.example.com']}}",
            CertificateReference("acme", "dns-01", ("*.example.com",)),
        ),
    ],
)
def test_a_reference_gets_to_the_region_as_it_is_written(
    written: str, reference: CertificateReference
) -> None:
    (front,) = order(traffic(written)).template.fronts
    assert front.certificate == reference


@pytest.mark.parametrize(
    ("written", "more", "said"),
    [
        ("{}", "", "certificate: say where it is kept: {file: /path}"),
        ("{file: /a.pem, vault: kv/a#b}", "", "a certificate has one source: name one of them"),
        ("{file: a.pem}", "", "certificate.file: write an absolute path"),
        ("{vault: kv/shop}", "", "certificate.vault: name the key behind #"),
        ("{acme: {by: tls-alpn-01}}", "", "certificate.acme.by: "),
        (
            "{acme: {}}",
            "",
            "certificate.acme: a server gives certificates of names: say match.host, or names",
        ),
        (
            "{acme: {}}",
            ", match: {host: shop.example.com}",
            "front https-443: an ACME server sees by http-01 whose a name is at a front without TLS: add",
        ),
        ("{acme: {}}", ", match: {host: '*.example.com'}", "gives names with * by dns-01 only"),
        ("{acme: {names: [shop]}}", "", "no name such as shop.example.com"),
    ],
)
def test_what_can_not_be_meant_is_told_at_its_place(written: str, more: str, said: str) -> None:
    assert said in "\n".join(problems(traffic(written, more)))


def test_an_agent_that_can_not_have_it_is_named_with_its_setting() -> None:
    def said(written: str, *kinds: str) -> list[str]:
        spec, _ = load(SPEC % traffic(written), "repave.yaml")
        able = BalancerAbilities(fronts=("http", "https", "match", "redirect"))
        words = capability_words(ProviderAbilities(), able, certificate_kinds=kinds)
        hello = Hello(OSLO, PROTOCOL_VERSION, "0.1.0", "local", "haproxy", words)
        return [f"{each.field}: {each.text}" for each in disagreements(spec, {OSLO: hello})]

    assert said("{vault: kv/shop#pem}", "file", "vault") == []
    assert said("{acme: {by: dns-01}}", "file", "acme-dns-01") == []
    assert said("{vault: kv/shop#pem}", "file") == [
        "traffic.fronts.0.certificate.vault: the agent of oslo takes no certificates by vault: set "
        "secrets.vault.address in its settings, or leave the region out"
    ]
    assert "certificates.acme.agrees_to_terms" in said("{acme: {}}", "file")[0]
