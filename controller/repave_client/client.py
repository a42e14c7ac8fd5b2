"""The API by its names, with types: lists come page by page, commands are done once, streams outlive breaks.

What has no method here is at `get`, `post`, `pages` and `follow`, by its path below /v1.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from repave_client.connection import TIMEOUT_SECONDS, Connection
from repave_client.errors import NeverBegun
from repave_client.places import DEFAULT_URL, quoted

if TYPE_CHECKING:
    from repave_client import answers

PAGE = 500
KEY_BYTES = 16
OVER = ("succeeded", "rolled-back", "aborted", "held")
"""The phases in which a rollout has ended."""


class Client(Connection):
    """For one installation, by any of its controllers. Raises Problem, Unreachable, NotAController.

    Commands take `by`, `reason`, `key` and `generation`: who asks and why; what makes a repeat harmless,
    drawn if it is not given; and the application's generation as it was seen, where it must not have changed
    since.
    """

    @classmethod
    def from_environment(cls, timeout_seconds: float = TIMEOUT_SECONDS) -> Client:
        """As the command line in CI: REPAVE_URL, REPAVE_TOKEN, and REPAVE_CA, a file."""
        file = os.environ.get("REPAVE_CA", "")
        return cls(
            os.environ.get("REPAVE_URL") or DEFAULT_URL,
            token=os.environ.get("REPAVE_TOKEN", "").strip(),
            authority=Path(file).read_text() if file else "",
            timeout_seconds=timeout_seconds,
        )

    # ---------------------------------------------------------------------------------------------- read

    def applications(self, *, phase: str = "", prefix: str = "") -> Iterator[answers.ApplicationItem]:
        return self._items("applications", phase=phase, prefix=prefix)

    def application(self, application: str) -> answers.ApplicationStatus:
        """As a whole, with every region."""
        return cast("answers.ApplicationStatus", self.get(_one(application)))

    def summary(self, application: str) -> answers.ApplicationSummary:
        """In few lines, however many regions there are."""
        return cast("answers.ApplicationSummary", self.get(f"{_one(application)}/summary"))

    def why(self, application: str) -> answers.WhyAnswer:
        """What it waits for."""
        return cast("answers.WhyAnswer", self.get(f"{_one(application)}/why"))

    def history(self, application: str, *, brief: bool = False) -> Iterator[answers.RolloutItem]:
        """Its rollouts, newest first."""
        return self._items(f"{_one(application)}/history", brief=brief)

    def queue(self, application: str) -> answers.QueueAnswer:
        return cast("answers.QueueAnswer", self.get(f"{_one(application)}/queue"))

    def groups(self, application: str = "", *, state: str = "") -> Iterator[answers.GroupItem]:
        return self._items(_of(application, "groups"), state=state)

    def ages(self, application: str = "") -> Iterator[answers.AgeItem]:
        return self._items(_of(application, "ages"))

    def hosts(
        self, application: str = "", *, region: str = "", group: str = "", log_lines: int = 0
    ) -> Iterator[answers.HostItem]:
        """Asked of their agents just now; regions that can't be asked are left out (`get` names them)."""
        return self._items(_of(application, "hosts"), region=region, group=group, log_lines=log_lines)

    def regions(self, *, troubled: bool = False) -> Iterator[answers.RegionItem]:
        return self._items("regions", troubled=troubled)

    def images(self) -> Iterator[answers.ImageItem]:
        return self._items("images")

    def freezes(self) -> answers.FreezesAnswer:
        return cast("answers.FreezesAnswer", self.get("freezes"))

    def doctor(self) -> answers.DoctorAnswer:
        return cast("answers.DoctorAnswer", self.get("doctor"))

    def whoami(self) -> answers.WhoAnswer:
        return cast("answers.WhoAnswer", self.get("whoami"))

    def events(
        self, *, after: int = 0, application: str = "", kind: str = "", region: str = ""
    ) -> Iterator[answers.EventItem]:
        """Those that there are, oldest first; `follow_events` waits for more."""
        return self._items("events", after=after, application=application, kind=kind, region=region)

    def follow_events(self, *, after: int = 0, application: str = "") -> Iterator[answers.EventItem]:
        """Each event once, as it comes, through restarts of the controller. One of the kind events.dropped
        stands for those that are no longer kept."""
        return self.follow("events/stream", resumes=True, after=after, application=application)

    def follow_application(
        self, application: str, *, summary: bool = False
    ) -> Iterator[answers.ApplicationStatus]:
        """Its status whenever that has changed. Raises Problem (404) once the application is gone."""
        return self.follow(f"{_one(application)}/stream", summary=summary)

    def wait(self, application: str, rollout: int) -> str:
        """The phase in which a rollout ends: succeeded, rolled-back, aborted or held. Raises NeverBegun."""
        if rollout < 1:
            text = "the release waits in the queue: it has no number until it begins; see queue()"
            raise NeverBegun(f"{application}: {text}")
        for status in self.follow_application(application, summary=True):
            current = status["current_rollout"]
            number = current["number"] if current is not None else 0
            is_over = current is None or current["phase"] in OVER
            if number > rollout or (number == rollout and is_over):
                break
            if number < rollout and is_over and not status["queued"]:
                raise NeverBegun(f"rollout {rollout} of {application} never began: nothing waits any more")
        for each in self.history(application, brief=True):
            if each["number"] == rollout:
                return str(each["phase"])
        raise NeverBegun(f"rollout {rollout} of {application} is not in its history, or no longer")

    # ------------------------------------------------------------------------------------------- release

    def push(self, package: Path, name: str = "") -> answers.ImageItem:
        """Stores a `.tar.gz`; again: nothing changes. Its digest is what `release` takes."""
        return cast("answers.ImageItem", self.upload("images", package, name or package.name))

    def plan(self, spec: str, digest: str, *, version: str = "", **more: Any) -> answers.PlanAnswer:
        """What a release would do. Changes nothing."""
        body = {"spec": spec, "digest": digest, "version": version, **more}
        return cast("answers.PlanAnswer", self.post("plan", body))

    def release(
        self,
        application: str,
        spec: str,
        digest: str,
        *,
        version: str = "",
        by: str = "",
        reason: str = "",
        key: str = "",
        generation: str = "",
        **more: Any,
    ) -> answers.AcceptedAnswer:
        """`more`: queue, latest, replace, plan, force, keep_sizes, as the API has them."""
        body = {"spec": spec, "digest": digest, "version": version, "by": by, "reason": reason, **more}
        return self._command(f"{_one(application)}/releases", body, key, generation)

    def steer(
        self,
        application: str,
        verb: str,
        *,
        by: str = "",
        reason: str = "",
        key: str = "",
        generation: str = "",
        **more: Any,
    ) -> answers.AcceptedAnswer:
        """A command by the last part of its path, such as `step-back`, with the fields of its body."""
        body = {"by": by, "reason": reason, **more}
        return self._command(f"{_one(application)}/{verb}", body, key, generation)

    def rollback(
        self, application: str, *, to: str = "", regions: Sequence[str] = (), **told: Any
    ) -> answers.AcceptedAnswer:
        """Back to the group before, or to another older one."""
        return self.steer(application, "rollback", to=to, regions=list(regions), **told)

    def abort(self, application: str, *, region: str = "", **told: Any) -> answers.AcceptedAnswer:
        return self.steer(application, "abort", region=region, **told)

    def pause(self, application: str, **told: Any) -> answers.AcceptedAnswer:
        return self.steer(application, "pause", **told)

    def resume(self, application: str, **told: Any) -> answers.AcceptedAnswer:
        return self.steer(application, "resume", **told)

    def promote(
        self, application: str, *, role: str = "", gates: Sequence[str] = (), **told: Any
    ) -> answers.AcceptedAnswer:
        """Past the gate that it waits at; with `gates` only past those, as they were seen."""
        return self.steer(application, "promote", role=role, gates=list(gates), **told)

    def resize(self, application: str, sizes: Mapping[str, int], **told: Any) -> answers.AcceptedAnswer:
        """Region to hosts."""
        return self.steer(application, "sizes", sizes=dict(sizes), **told)

    def renew(self, application: str, **told: Any) -> answers.AcceptedAnswer:
        """A fresh host for every one of the group that serves."""
        return self.steer(application, "renew", **told)

    def taint(self, host: str, *, region: str = "", by: str = "", reason: str = "") -> answers.TaintAnswer:
        """A fresh host for this one."""
        body = {"region": region, "by": by, "reason": reason}
        return cast("answers.TaintAnswer", self.post(f"hosts/{quoted(host)}/taint", body, _new_key()))

    def freeze_all(self, *, by: str = "", reason: str = "") -> answers.FreezesAnswer:
        return cast("answers.FreezesAnswer", self.post("freezes/all", {"by": by, "reason": reason}))

    def lift_freeze(self, freeze: str = "all", *, by: str = "", reason: str = "") -> answers.FreezesAnswer:
        body = {"by": by, "reason": reason}
        return cast("answers.FreezesAnswer", self.post(f"freezes/{quoted(freeze)}/lift", body))

    # ---------------------------------------------------------------------------------------------- parts

    def _items(self, path: str, **query: Any) -> Iterator[Any]:
        for page in self.pages(path, PAGE, **query):
            yield from page["items"]

    def _command(
        self, path: str, body: Mapping[str, object], key: str, generation: str
    ) -> answers.AcceptedAnswer:
        answer = self.post(path, body, key or _new_key(), generation=generation)
        return cast("answers.AcceptedAnswer", answer)


def _one(application: str) -> str:
    return f"applications/{quoted(application)}"


def _of(application: str, what: str) -> str:
    return f"{_one(application)}/{what}" if application else what


def _new_key() -> str:
    return secrets.token_hex(KEY_BYTES)
