"""What is saved beside an application when a command is carried out: its receipt, by which the same command
given again gets the same answer, and the text of the spec of a release."""

import dataclasses
import hashlib

from repave_controller.core.commands.release import Accepted, from_text, to_text
from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Receipt, Spec, Store


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A command as it was given. Without a `key` it is a new one each time."""

    key: str
    body_hash: str

    @staticmethod
    def of(application: Application, kind: str, key: str, body: str) -> "Request":
        whole_key = f"{application.name}/{kind}/{key}" if key else ""
        return Request(whole_key, hashlib.sha256(body.encode()).hexdigest())

    def receipt(self, accepted: Accepted, now: Instant) -> Receipt | None:
        return Receipt(self.key, self.body_hash, to_text(accepted), now) if self.key else None


async def earlier_answer(store: Store, request: Request) -> Accepted | None:
    """What the same request was answered before. Raises Refused where its key was another request's."""
    receipt = await store.receipt(request.key) if request.key else None
    if receipt is None:
        return None
    if receipt.body_hash != request.body_hash:
        raise Refused(Refusal.KEY_REUSED)
    return dataclasses.replace(from_text(receipt.response), is_joined=True)


def spec_of_queued(before: Application, after: Application, now: Instant) -> Spec | None:
    """The spec of a queued release, saved with its group once it begins."""
    has_begun = after.rollout is not None and after.rollouts_total > before.rollouts_total
    target = after.group(after.rollout.target) if has_begun and after.rollout is not None else None
    if target is None:
        return None
    for order in before.queue:
        if order not in after.queue and (order.version, order.digest) == (target.version, target.digest):
            return Spec(after.name, target.name, order.spec_text, now)
    return None
