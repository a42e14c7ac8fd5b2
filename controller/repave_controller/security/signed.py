"""Whether a release's package was signed as the controller's settings want it. The agent looks once more."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_protos.package.signatures import (
    Fault,
    PublicKey,
    SignatureError,
    key_of,
    read_signature,
    verify,
)
from repave_protos.package.signing import Signing
from repave_protos.protocol.capabilities import verifies_signatures
from repave_protos.protocol.values import ApplicationName, RegionName

REFUSALS: Mapping[Fault, Refusal] = {
    Fault.UNREADABLE: Refusal.SIGNATURE_UNREADABLE,
    Fault.UNKNOWN_KEY: Refusal.SIGNATURE_OF_OTHER_KEY,
    Fault.WRONG: Refusal.SIGNATURE_WRONG,
}


def sealed(
    order: ReleaseOrder, application: ApplicationName, signature: str, package: Path | None, signing: Signing
) -> tuple[ReleaseOrder, PublicKey | None]:
    """The order with what agents need to check the signature, and the key that made it, if one must have.

    `package`: None looks at the signature alone, before there is a package. Reads all of it. Raises Refused.
    """
    keys = signing.keys_for(application)
    key = _checked(application, signature, package, keys) if keys else None
    signers = tuple(each.line for each in keys)
    return replace(order, template=replace(order.template, signature=signature, signers=signers)), key


def check_regions(
    application: ApplicationName,
    order: ReleaseOrder,
    capabilities: Mapping[RegionName, tuple[str, ...]],
) -> None:
    """Agents that would not look at the signature get no package that needs one. Raises Refused."""
    if not order.template.signers:
        return
    there = (region for region, _ in order.sizes if region in capabilities)
    old = tuple(region for region in there if not verifies_signatures(capabilities[region]))
    if old:
        raise Refused(Refusal.AGENTS_DO_NOT_VERIFY, application=application, regions=old)


def _checked(
    application: ApplicationName, signature: str, package: Path | None, keys: tuple[PublicKey, ...]
) -> PublicKey:
    names = _names(keys)
    if not signature:
        raise Refused(Refusal.SIGNATURE_MISSING, application=application, keys=names)
    try:
        return (
            key_of(read_signature(signature), keys) if package is None else verify(package, signature, keys)
        )
    except SignatureError as error:
        kind = REFUSALS[error.fault]
        raise Refused(kind, application=application, keys=names, why=str(error)) from None


def _names(keys: Iterable[PublicKey]) -> tuple[str, ...]:
    return tuple(map(str, keys))
