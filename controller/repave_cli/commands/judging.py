"""analysis judge: judges samples from files, without a controller.

The judge is the controller's own (`core/analysis`), and imported when it is asked for.
"""

import argparse
from math import isfinite, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repave_cli.render.judgement import COLUMNS, judgement_lines
from repave_cli.render.output import show
from repave_cli.specs.samples import Column, read_samples
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ERROR, HELD, USAGE
from repave_cli.transport.terminal import Terminal

if TYPE_CHECKING:
    from repave_controller.core.analysis.values import (
        JudgeConfig,
        Judgement,
        Metric,
        MetricVerdict,
        Samples,
        Side,
    )

JUDGES = ("repave-v1", "kayenta-v1")
DIRECTIONS = ("increase", "decrease", "either")


def register_judge(verbs: Any) -> None:
    """One of the verbs of `repave analysis`."""
    judging = verbs.add_parser(
        "judge",
        help="Judge samples from two files; needs no controller",
        description="CSV: a column for each metric, a row for each step; a rate has NAME.events and "
        "NAME.trials, events without trials are a count. JSON: {NAME: [...]} or "
        "{NAME: {events: [...], trials: [...]}}.",
    )
    judging.add_argument(
        "--baseline", type=Path, required=True, metavar="FILE", help="the old version's samples"
    )
    judging.add_argument(
        "--canary", type=Path, required=True, metavar="FILE", help="the new version's samples"
    )
    judging.add_argument(
        "-f", "--file", action="append", type=Path, dest="files", metavar="FILE",
        help="judge as this spec's section analysis says; the metrics are found by their names",
    )  # fmt: skip
    judging.add_argument("--judge", choices=JUDGES, help="instead of the spec's (default repave-v1)")
    judging.add_argument(
        "--pass", type=_score, dest="pass_score", metavar="SCORE", help="a score that passes"
    )
    judging.add_argument("--marginal", type=_score, metavar="SCORE", help="below it the canary fails")
    judging.add_argument(
        "--false-alarms", type=_share, metavar="SHARE", help="at most, such as 1%% (default 5%%)"
    )
    judging.add_argument(
        "--least-effect", type=_share, metavar="SHARE", help="changes that matter, such as 10%%"
    )
    judging.add_argument("--direction", choices=DIRECTIONS, help="which change is bad (default either)")
    judging.add_argument("--critical", action="append", default=[], metavar="METRIC", help="may be repeated")
    judging.add_argument(
        "--missing",
        choices=("remove", "zero"),
        help="what a step without a number stands for (default remove)",
    )
    judging.set_defaults(run=run_judge)


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no score; write 0 to 100")
    return score


def _share(text: str) -> float:
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 < share <= 10 or not text.strip().endswith("%"):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write a percentage such as 5%")
    return share


def run_judge(terminal: Terminal) -> int:
    """Exit code 1 when the canary fails, 8 when a person has to say."""
    from repave_controller.core.analysis.judge import judge
    from repave_controller.core.analysis.values import Outcome, Samples

    arguments = terminal.arguments
    base, canary = read_samples(arguments.baseline), read_samples(arguments.canary)
    config, metrics = _asked(terminal, _kinds(arguments, base, canary))
    of_base, of_canary = (
        {m.name: _samples(side[m.name]) if m.name in side else Samples() for m in metrics}
        for side in (base, canary)
    )
    judgement = judge(config, metrics, of_base, of_canary)
    document = document_of(judgement, of_base, of_canary)
    if terminal.format in ("table", "wide"):
        for line in judgement_lines(document, is_wide=terminal.format == "wide"):
            terminal.out(line)
    else:
        show(terminal, document, COLUMNS)
    return {Outcome.PASS: DONE, Outcome.FAIL: ERROR}.get(judgement.outcome, HELD)


def _kinds(
    arguments: argparse.Namespace, base: dict[str, Column], canary: dict[str, Column]
) -> dict[str, str]:
    """Kind by metric; both files must agree."""
    kinds = {name: each.kind for name, each in base.items()}
    for name, each in canary.items():
        if kinds.setdefault(name, each.kind) != each.kind:
            raise CliError(
                f"{name} is a {kinds[name]} in {arguments.baseline} and a {each.kind} in {arguments.canary}",
                USAGE,
            )
    return kinds


def _asked(terminal: Terminal, kinds: dict[str, str]) -> "tuple[JudgeConfig, tuple[Metric, ...]]":
    """Judge and metrics: as the spec says, then as the options say."""
    from dataclasses import replace

    from repave_controller.core.analysis.judge import scores_objection
    from repave_controller.core.analysis.values import (
        Direction,
        JudgeConfig,
        JudgeName,
        Metric,
        MetricKind,
        NanStrategy,
    )

    arguments = terminal.arguments
    config, known = _of_spec(terminal) if arguments.files else (JudgeConfig(), {})
    unknown = [name for name in (*arguments.critical, *known) if name not in kinds and name not in known]
    if unknown:
        raise CliError(
            f"--critical: no file has the metric {unknown[0]}; they have {', '.join(kinds)}", USAGE
        )
    metrics = []
    for name in {**kinds, **known}:
        metric = known.get(name, Metric(name))
        metric = replace(metric, kind=MetricKind(kinds[name])) if name in kinds else metric
        if arguments.direction:
            metric = replace(metric, direction=Direction(arguments.direction))
        if arguments.least_effect:
            metric = replace(metric, least_effect=arguments.least_effect)
        if arguments.missing:
            metric = replace(
                metric, nan=NanStrategy.REPLACE if arguments.missing == "zero" else NanStrategy.REMOVE
            )
        metrics.append(replace(metric, is_critical=metric.is_critical or name in arguments.critical))
    name = JudgeName(arguments.judge) if arguments.judge else config.name
    if name != config.name:
        config = replace(config, pass_score=None, marginal_score=None)
    pass_score = config.pass_score if arguments.pass_score is None else arguments.pass_score
    marginal = config.marginal_score if arguments.marginal is None else arguments.marginal
    alpha = config.alpha if arguments.false_alarms is None else arguments.false_alarms
    config = replace(config, name=name, pass_score=pass_score, marginal_score=marginal, alpha=alpha)
    if why := scores_objection(config):
        raise CliError(f"--pass, --marginal: {why}", USAGE)
    return config, tuple(metrics)


def _of_spec(terminal: Terminal) -> "tuple[JudgeConfig, dict[str, Metric]]":
    from repave_cli.specs.specs import read_spec
    from repave_controller.spec.analysis import AnalyseSection, plan_of

    spec, _, _ = read_spec(terminal, terminal.arguments.files)
    plan = plan_of(AnalyseSection.model_validate({}), spec.analysis)
    if plan is None:
        raise AssertionError("a section gives a plan")
    return plan.judge, {reading.metric.name: reading.metric for reading in plan.readings}


def _samples(read: Column) -> "Samples":
    from repave_controller.core.analysis.values import Samples

    return Samples(read.values, read.events, read.trials)


def document_of(
    judgement: "Judgement", baseline: "dict[str, Samples]", canary: "dict[str, Samples]"
) -> dict[str, Any]:
    """What programs are given."""
    from repave_controller.wording.analysis import judgement_text

    nothing: Any = None
    return {
        "outcome": judgement.outcome.value,
        "text": judgement_text(judgement),
        "score": judgement.score,
        "pass_score": judgement.pass_score,
        "marginal_score": judgement.marginal_score,
        "grounds": judgement.grounds.value,
        "decisive": list(judgement.decisive),
        "groups": dict(judgement.group_scores),
        "items": [
            _item(v, baseline.get(v.metric, nothing), canary.get(v.metric, nothing))
            for v in judgement.verdicts
        ],
    }


def _item(verdict: "MetricVerdict", baseline: "Samples", canary: "Samples") -> dict[str, Any]:
    from repave_controller.wording.analysis import effect_text, metric_text

    return {
        "name": verdict.metric,
        "kind": verdict.kind.value,
        "verdict": verdict.verdict.value,
        "rule": verdict.rule.value,
        "text": metric_text(verdict),
        "canary": _side(verdict, verdict.canary, canary),
        "baseline": _side(verdict, verdict.baseline, baseline),
        "effect": _finite(verdict.effect),
        "change": effect_text(verdict) if verdict.canary.samples and verdict.baseline.samples else "-",
        "difference": _finite(verdict.difference),
        "interval": [_finite(end) for end in verdict.interval] if verdict.interval else None,
        "p": verdict.p,
        "threshold": verdict.threshold,
        "is_critical": verdict.is_critical,
        "is_muted": verdict.is_muted,
    }


def _side(verdict: "MetricVerdict", side: "Side", samples: "Samples") -> dict[str, Any]:
    from repave_controller.wording.analysis import side_text

    steps = samples.values
    if samples.events:
        trials = samples.trials or (1.0,) * len(samples.events)
        # A step without a number of events had none, where it had trials.
        steps = tuple(
            (0.0 if isnan(e) and samples.trials else e) / t if t > 0 else float("nan")
            for e, t in zip(samples.events, trials, strict=False)
        )
    return {
        "text": side_text(side, verdict),
        "samples": side.samples,
        "mean": side.mean,
        "median": side.median,
        "low": side.low,
        "high": side.high,
        "events": side.events,
        "trials": side.trials,
        "steps": [_finite(step) for step in steps],
    }


def _finite(number: float | None) -> float | None:
    """JSON has no NaN."""
    return number if number is not None and isfinite(number) else None
