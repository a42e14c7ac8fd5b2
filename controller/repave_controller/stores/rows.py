"""A transaction as the rows that a store saves, whichever it is."""

from dataclasses import dataclass

from repave_controller.core.domain.application import Event, Instant, Tenure
from repave_controller.core.ports import Drop, Image, Look, Transaction
from repave_controller.stores.codec import encode_application, encode_freezes, encode_rollout
from repave_controller.wording.render import event_text
from repave_protos.protocol.values import ApplicationName

Outcome = int | Exception
"""Of one transaction: the sequence number of its first event, or why it was not saved."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One transaction as rows, encoded by the caller. Events lack their sequence number."""

    application: tuple[str, str] | None = None
    events: tuple[tuple[object, ...], ...] = ()
    rollout: tuple[str, int, str] | None = None
    spec: tuple[str, str, str, float] | None = None
    receipt: tuple[str, str, str, float] | None = None
    freezes: tuple[str] | None = None
    records: tuple[tuple[str, str, str | None], ...] = ()
    image: tuple[str, int, int, str, float] | None = None
    audit: tuple[tuple[int, str, str], ...] = ()
    drops: tuple[Drop, ...] = ()
    tenure: Tenure | None = None
    seen: int | None = None
    expected: tuple[tuple[str, str, str | None], ...] = ()
    looks: tuple[tuple[str, int, str, float, str, str], ...] = ()


def rows_of(transaction: Transaction) -> Rows:
    application, rollout = transaction.application, transaction.rollout
    spec, receipt = transaction.spec, transaction.receipt
    assert rollout is None or application is not None, "a rollout is saved with its application"
    return Rows(
        application=(application.name, encode_application(application)) if application else None,
        events=tuple(_event_row(each) for each in transaction.events),
        rollout=(application.name, rollout.number, encode_rollout(rollout))
        if application and rollout
        else None,
        spec=(spec.application, spec.group, spec.text, spec.at) if spec else None,
        receipt=(receipt.key, receipt.body_hash, receipt.response, receipt.at) if receipt else None,
        freezes=(encode_freezes(transaction.freezes),) if transaction.freezes is not None else None,
        records=tuple((each.kind, each.name, each.state) for each in transaction.records),
        audit=tuple((each.number, each.text, each.hash) for each in transaction.audit),
        drops=transaction.drops,
        tenure=transaction.tenure,
        seen=transaction.seen,
        expected=tuple((each.kind, each.name, each.state) for each in transaction.expected),
        looks=tuple(
            (each.application, each.rollout, each.id, each.at, each.outcome, each.details)
            for each in transaction.looks
        ),
    )


def _event_row(event: Event) -> tuple[object, ...]:
    text, group = event_text(event), event.group
    return (event.at, event.kind, text, event.application, event.region, group, event.host, event.by)


def look_of(application: str, rollout: int, name: str, at: float, outcome: str, details: str) -> Look:
    return Look(ApplicationName(application), rollout, name, Instant(at), outcome, details)


def rows_of_image(image: Image) -> Rows:
    return Rows(image=(image.digest, image.size_bytes, image.files, image.name, image.pushed_at))
