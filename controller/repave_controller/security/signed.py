"""Whether a release's package was signed as the controller's settings want it. The agent looks once more."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_protos.package.signatures import Fault, SignatureError
from repave_protos.package.signing import Signer, Signing, signer_of, told
from repave_protos.protocol.capabilities import can_verify_bundles, verifies_signatures
from repave_protos.protocol.values import ApplicationName, RegionName

REFUSALS: Mapping[Fault, Refusal] = {
    Fault.UNREADABLE: Refusal.SIGNATURE_UNREADABLE,
    Fault.UNKNOWN_KEY: Refusal.SIGNATURE_OF_OTHER_KEY,
    Fault.WRONG: Refusal.SIGNATURE_WRONG,
}


def sealed(
    order: ReleaseOrder,
    application: ApplicationName,
    signatures: Sequence[str],
    package: Path | None,
    signing: Signing,
) -> tuple[ReleaseOrder, Signer | None]:
    """The order with what agents need to check the signature, and who made it, if one must have. Of several
    signatures any will do. An order that is signed with a key names keys alone, for agents without bundles.

    `package`: None looks at the signature alone, before there is a package. Reads all of it. Raises Refused.
    """
    keys = signing.keys_for(application)
    signature, key = next(iter(signatures), ""), None
    if keys:
        signature, key = _checked(application, signatures, package, keys)
    signers, roots = told([each for each in keys if isinstance(each, type(key))])
    template = replace(order.template, signature=signature, signers=signers, trusted_roots=roots)
    return replace(order, template=template), key


def check_regions(
    application: ApplicationName,
    order: ReleaseOrder,
    capabilities: Mapping[RegionName, tuple[str, ...]],
) -> None:
    """Agents that would not look at the signature get no package that needs one. Raises Refused."""
    if not order.template.signers:
        return
    there = [region for region, _ in order.sizes if region in capabilities]
    old = tuple(region for region in there if not verifies_signatures(capabilities[region]))
    if old:
        raise Refused(Refusal.AGENTS_DO_NOT_VERIFY, application=application, regions=old)
    bare = tuple(region for region in there if not can_verify_bundles(capabilities[region]))
    if bare and order.template.trusted_roots:
        raise Refused(Refusal.AGENTS_DO_NOT_VERIFY_BUNDLES, application=application, regions=bare)


def _checked(
    application: ApplicationName, signatures: Sequence[str], package: Path | None, keys: tuple[Signer, ...]
) -> tuple[str, Signer]:
    """The first one that counts."""
    names = tuple(map(str, keys))
    refused = Refused(Refusal.SIGNATURE_MISSING, application=application, keys=names)
    for each in signatures:
        try:
            return each, signer_of(package, each, keys)
        except SignatureError as error:
            kind = REFUSALS[error.fault]
            refused = Refused(kind, application=application, keys=names, why=str(error))
    raise refused
