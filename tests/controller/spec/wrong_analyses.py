"""What can be wrong in the words about an analysis, and what is then said.

Each entry: what stands in place of OPTIONS, in which column of that line, and what is said of which option.
"""

from tests.controller.spec.wrong_specs import GOOD as OTHER

GOOD = OTHER.replace("blue_green: {}", "blue_green: {warm: 1m, analyse: OPTIONS}")
LINE = 15
FIELD = "strategy.blue_green"

BAD = {
    "an analysis that is not made": (
        "false",
        35,
        ".analyse: leave it out, or write true, or a mapping such as {count: 10}",
    ),
    "an analysis that is no mapping": (
        "often",
        35,
        ".analyse: must be a mapping of options; there are: interval, count, warm_up, look_back, "
        "failure_limit, inconclusive_limit, error_limit, source_deadline, on_inconclusive, ends_early, "
        "by, baseline, judge, metrics",
    ),
    "more time and a number of looks": (
        "{count: 3}",
        43,
        ".analyse.count: how long it is watched says how many looks there are: leave out count, or that time",
    ),
    "a warm-up longer than it is watched": (
        "{warm_up: 2m}",
        45,
        ".analyse.warm_up: the warm-up of 120 s leaves nothing of the 60 s that it is watched",
    ),
    "looks too far between": (
        "{interval: 2m}",
        46,
        ".analyse.interval: no look comes within the 60 s that are left: a shorter interval, or a "
        "longer time",
    ),
    "a metric that no balancer counts": (
        "{metrics: [{name: cpu}]}",
        53,
        ".analyse.metrics.0.name: a balancer counts errors, latency, requests, not cpu: take one "
        "of these, or another source",
    ),
    "a query that no balancer has": (
        "{metrics: [{name: load, query: cpu}]}",
        66,
        ".analyse.metrics.0.query: a balancer counts errors, latency, requests, not cpu: take one "
        "of these, or another source",
    ),
    "the kind of a metric of the balancer": (
        "{metrics: [{name: errors, kind: rate}]}",
        67,
        ".analyse.metrics.0.kind: of the balancer's numbers the kind is known: leave it out",
    ),
    "a source that is asked for nothing": (
        "{metrics: [{name: load, source: prom}]}",
        67,
        ".analyse.metrics.0.source: say what prom is asked for: query: ...",
    ),
    "a rate without a total": (
        "{metrics: [{name: bad, source: prom, query: q, kind: rate}]}",
        88,
        ".analyse.metrics.0.kind: a rate is events out of a total: give both, kind: rate and "
        "total: ..., or neither",
    ),
    "a total of no rate": (
        "{metrics: [{name: bad, source: prom, query: q, total: t}]}",
        89,
        ".analyse.metrics.0.total: a rate is events out of a total: give both, kind: rate and "
        "total: ..., or neither",
    ),
    "a metric twice": (
        "{metrics: [{name: errors}, {name: errors}]}",
        69,
        ".analyse.metrics.1.name: errors is there twice",
    ),
    "no metric that counts": (
        "{metrics: [{name: errors, muted: true}]}",
        45,
        ".analyse.metrics: all metrics are muted: nothing would be judged",
    ),
    "no metric at all": (
        "{metrics: []}",
        45,
        ".analyse.metrics: must not be empty",
    ),
    "a judge of no name": (
        "{judge: me}",
        43,
        ".analyse.judge.name: must be 'repave-v1' or 'kayenta-v1'",
    ),
    "scores that contradict each other": (
        "{judge: {pass_score: 50, marginal_score: 80}}",
        76,
        ".analyse.judge.marginal_score: marginal_score 80 is above pass_score 50: less than the "
        "first fails, the second or more passes",
    ),
    "a score below the judge's own": (
        "{judge: {pass_score: 50}}",
        56,
        ".analyse.judge.pass_score: marginal_score 75 (of repave-v1) is above pass_score 50: less "
        "than the first fails, the second or more passes",
    ),
    "weights of more than all": (
        "{judge: {weights: {errors: 60%, latency: 60%}}}",
        53,
        ".analyse.judge.weights: the weights come to 120%: at most 100%",
    ),
    "no false alarm ever": (
        "{judge: {false_alarms: 0%}}",
        58,
        ".analyse.judge.false_alarms: more than 0% and at most 50%, such as 1%",
    ),
    "something else for the inconclusive": (
        "{on_inconclusive: wait}",
        53,
        ".analyse.on_inconclusive: must be 'hold', 'rollback' or 'pass'",
    ),
    "a difference below nothing": (
        "{metrics: [{name: latency, least_difference: -1}]}",
        80,
        ".analyse.metrics.0.least_difference: must be at least 0.0",
    ),
    "a fresh baseline of all the traffic": (
        "{baseline: fresh}",
        15,
        ": step 4: paris, 3 hosts: the new group has 100% of the traffic, and a fresh baseline as "
        "much: together they must leave some to the old group; use it below 50%, or baseline: "
        "current",
    ),
}
