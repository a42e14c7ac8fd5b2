"""What analyses of an application's rollouts have found, and what they would find with other thresholds."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from repave_controller.api.answers.analyses import AnalysesAnswer, analyses
from repave_controller.api.answers.models import SPEC_LENGTH_MAX, Body
from repave_controller.api.answers.queries import AnalysesQuery
from repave_controller.api.resources.names import Names
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import body_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.analysis.judge import scores_objection
from repave_controller.core.analysis.values import JudgeConfig, Judgement, JudgeName
from repave_controller.core.domain.analyses import AnalysisPlan
from repave_controller.core.ports import Look, Store
from repave_controller.operations.analysis.details import looks_in
from repave_controller.operations.specs import Specs
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.values import ApplicationName, Digest

LOOKS_MAX = 300
"""Of an answer, the last."""

Score = Annotated[float, Field(ge=0, le=100)]


class AnalysisReplayRequest(Body):
    """What would the looks at a rollout have found with other thresholds? Nothing is changed."""

    rollout: int = Field(0, ge=0, description="Its number; 0: the newest that has any.")
    judge: Literal["", "repave-v1", "kayenta-v1"] = Field("", description="Empty: the one that judged.")
    pass_score: Score | None = Field(None, description="Null: as it was.")
    marginal_score: Score | None = Field(None, description="Null: as it was.")
    false_alarms_percent: Annotated[float, Field(gt=0, le=50)] | None = Field(
        None, description="Null: as it was."
    )
    spec: str = Field(
        "", max_length=SPEC_LENGTH_MAX, description="A spec whose judge and metrics count instead."
    )
    filename: str = Field("repave.yaml", max_length=200, description="How errors call the spec.")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """In place of those that a look went by. `plans`: of the steps of another spec."""

    asked: AnalysisReplayRequest
    plans: Sequence[AnalysisPlan | None] = ()

    def plan(self, gate: str) -> AnalysisPlan | None:
        """Of the same step, or of the first that has one."""
        _, _, step = gate.rpartition(".")
        at = int(step) - 1 if step.isdecimal() else -1
        own = self.plans[at] if 0 <= at < len(self.plans) else None
        return own or next((each for each in self.plans if each is not None), None)

    def judge(self, gate: str, was: JudgeConfig) -> JudgeConfig:
        """Raises Problem where what is asked for contradicts itself."""
        plan, asked = self.plan(gate), self.asked
        config = plan.judge if plan is not None else was
        if asked.judge and asked.judge != config.name:
            config = replace(config, name=JudgeName(asked.judge), pass_score=None, marginal_score=None)
        if asked.pass_score is not None:
            config = replace(config, pass_score=asked.pass_score)
        if asked.marginal_score is not None:
            config = replace(config, marginal_score=asked.marginal_score)
        if asked.false_alarms_percent is not None:
            config = replace(config, alpha=asked.false_alarms_percent / 100)
        if why := scores_objection(config):
            raise Problem(400, "bad-request", why)
        return config


class AnalysisRoutes:
    """One for an API."""

    def __init__(self, store: Store, names: Names) -> None:
        self._store, self._names, self._specs = store, names, Specs()

    def routes(self) -> tuple[Route, ...]:
        path = "applications/{application}/analyses"
        return (
            Route("GET", path, self.analyses, AnalysesAnswer, query=AnalysesQuery),
            Route(
                "POST",
                f"{path}/replay",
                self.replay,
                AnalysesAnswer,
                AnalysisReplayRequest,
                status=200,
                repeats=Repeats.SAFE,
                refuses=("spec", "no-analysis"),
            ),
        )

    async def analyses(self, request: web.Request) -> web.Response:
        """What the looks at a rollout's new group found, with the numbers of the last ones."""
        query, name = query_of(request, AnalysesQuery), self._names.one(request)
        rows = await self._store.looks(name, query.rollout or None, LOOKS_MAX)
        number = rows[-1].rollout if rows else query.rollout
        return answer(await asyncio.to_thread(analyses, name, number, rows, has_numbers=query.numbers))

    async def replay(self, request: web.Request) -> web.Response:
        """What the looks at a rollout would have found with other thresholds."""
        asked, name = await body_of(request, AnalysisReplayRequest), self._names.one(request)
        rows = await self._store.looks(name, asked.rollout or None, LOOKS_MAX)
        if not rows:
            of = f"rollout {asked.rollout} of {name}" if asked.rollout else f"{name}"
            raise Problem(404, "no-analysis", f"of {of} no analysis is kept")
        thresholds = Thresholds(asked, await self._plans(asked, name))
        again = await asyncio.to_thread(judged_again, rows, thresholds)
        found = await asyncio.to_thread(analyses, name, rows[-1].rollout, rows, has_numbers=True, again=again)
        return answer(found)

    async def _plans(self, asked: AnalysisReplayRequest, name: ApplicationName) -> list[AnalysisPlan | None]:
        """Raises Problem."""
        if not asked.spec:
            return []
        spec, _ = await self._specs.read(asked.spec, asked.filename)
        plans = [step.analysis for step in compile_order(spec, Digest("0" * 64), "replay").steps]
        if not any(plans):
            raise Problem(422, "spec", f"{asked.filename} has no step that analyses")
        return plans


def judged_again(rows: Sequence[Look], thresholds: Thresholds) -> Mapping[str, Judgement]:
    """Of each look that had numbers, by its id. Takes a while: not for the event loop."""
    found = {}
    for name, look in looks_in(rows).items():
        if all(each.trouble for each in look.metrics):
            continue
        plan = thresholds.plan(look.gate)
        metrics = [each.metric for each in plan.readings] if plan is not None else []
        found[name] = look.judged_again(thresholds.judge(look.gate, look.judge), metrics)
    return found
