// @ts-check
// What the looks at a new group have found: each analysis with its looks, and each metric of the last one.

import { get, part } from "./api.js";
import { Ago, Chip, Problem, Section, useLoaded } from "./parts.js";
import { html } from "./vendor/preact.js";
import { counted, number, sentence } from "./words.js";

/** @typedef {Record<string, any>} Row */

const WIDTH = 168, HEIGHT = 36;
const ENDINGS = /** @type {Record<string, [string, string]>} */ ({ passed: ["ok", "passed"], failed: ["fail", "failed"], undecided: ["held", "undecided"], unjudged: ["warn", "not judged"], "": ["running", "going on"] });
const OUTCOMES = /** @type {Record<string, [string, string]>} */ ({ pass: ["good", "✓"], marginal: ["warn", "~"], fail: ["bad", "×"], inconclusive: ["warn", "?"], error: ["warn", "!"] });
const VERDICTS = /** @type {Record<string, [string, string]>} */ ({ pass: ["good", "as good"], high: ["bad", "higher"], low: ["bad", "lower"], suspect: ["warn", "suspect"], nodata: ["warn", "no data"], inconclusive: ["warn", "not clear"], error: ["warn", "error"] });

/** @param {{app: string, rollout: Row}} props */
export function Analyses({ app, rollout }) {
  const known = /** @type {Row[]} */ (rollout.analyses ?? []);
  const key = known.map((each) => `${each.gate} ${each.region} ${each.run} ${each.looks} ${each.ending}`).join();
  const { data, problem } = useLoaded(() => get(`applications/${part(app)}/analyses`, { rollout: rollout.number, numbers: true }), [app, rollout.number], [key]);
  if (!known.length) return null;
  const looks = /** @type {Row[]} */ (data?.items ?? []);
  return html`<${Section} title="Analysis" note="the new hosts beside the old ones">
    <${Problem} problem=${problem} />
    <div class="analyses">${known.map((each) => html`<${Analysis} key=${`${each.gate} ${each.region}`} analysis=${each} looks=${looks.filter((look) => look.gate === each.gate && look.region === each.region && look.run === each.run)} />`)}</div>
  <//>`;
}

/** @param {{analysis: Row, looks: Row[]}} props */
function Analysis({ analysis, looks }) {
  const last = looks.at(-1);
  const [phase, word] = ENDINGS[analysis.ending] ?? ["waiting", analysis.ending];
  const said = last?.text || analysis.text;
  return html`<article class="analysis" aria-label=${`Analysis of ${analysis.gate}${analysis.region ? ` in ${analysis.region}` : ""}`}>
    <header class="analysis-head"><${Chip} phase=${phase} text=${word} /><h3>${analysis.gate}${analysis.region ? `, ${analysis.region}` : ""}</h3>
      <span class="faint num">${analysis.judged} of ${counted(analysis.count, "look")}</span>
      <ol class="looks" aria-label="Looks">${/** @type {string[]} */ (analysis.said).map((outcome, index) => html`<li key=${index} class=${`look tone-${OUTCOMES[outcome]?.[0] ?? "calm"}`} title=${outcome}><span aria-hidden="true">${OUTCOMES[outcome]?.[1] ?? "·"}</span><span class="sr">${outcome}</span></li>`)}</ol>
      ${last ? html`<span class="faint"><${Ago} at=${last.at} /></span>` : null}</header>
    ${said || !analysis.looks ? html`<p class="soft">${said ? sentence(said) : "It has not looked yet."}</p>` : null}
    ${last?.metrics.length ? html`<ul class="metrics">${last.metrics.map((/** @type {Row} */ each) => html`<${Metric} key=${each.name} metric=${each} />`)}</ul>` : null}
  </article>`;
}

/** @param {{metric: Row}} props */
function Metric({ metric }) {
  const [tone, word] = VERDICTS[metric.verdict] ?? ["warn", metric.trouble ? "not read" : "no verdict"];
  const old = numbers(metric.baseline_series, metric.kind), fresh = numbers(metric.canary_series, metric.kind);
  return html`<li class="metric">
    <div class="metric-head"><strong>${metric.name}</strong><${Chip} phase=${tone === "good" ? "ok" : tone === "bad" ? "fail" : "warn"} text=${word} tone=${metric.is_muted ? "calm" : tone} />${metric.is_critical ? html`<span class="faint">critical</span>` : null}${metric.is_muted ? html`<span class="faint">muted</span>` : null}</div>
    <p class="metric-text">${sentence(metric.text.startsWith(`${metric.name}: `) ? metric.text.slice(metric.name.length + 2) : metric.text)}</p>
    <dl class="sides"><div><dt>new</dt><dd class="num">${told(metric.canary, metric)}</dd></div><div><dt>old</dt><dd class="num">${told(metric.baseline, metric)}</dd></div></dl>
    <${Spark} old=${old} fresh=${fresh} label=${metric.name} />
  </li>`;
}

/** @param {Row | null} side
 * @param {Row} metric */
function told(side, metric) {
  const value = metric.kind === "value" ? side?.median ?? side?.mean : side?.mean;
  if (value === null || value === undefined) return "–";
  if (metric.kind === "rate") return `${rounded(100 * value)} %`;
  return `${rounded(value)}${metric.unit ? ` ${metric.unit}` : ""}`;
}

/** @param {number} value */
function rounded(value) { return number(Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(2))); }

/** Step by step; of a rate its share.
 * @param {Row | null} series
 * @param {string} kind
 * @returns {(number | null)[]} */
function numbers(series, kind) {
  if (!series) return [];
  if (kind === "value") return series.values;
  return series.events.map((/** @type {number | null} */ events, /** @type {number} */ step) => {
    const trials = series.trials.length ? series.trials[step] : 1;
    return events === null || !trials ? null : events / trials;
  });
}

/** Both sides on one scale: the new one drawn through, the old one dashed.
 * @param {{old: (number | null)[], fresh: (number | null)[], label: string}} props */
function Spark({ old, fresh, label }) {
  const most = Math.max(0, ...[...old, ...fresh].map((each) => each ?? 0));
  const steps = Math.max(old.length, fresh.length);
  if (!steps) return html`<span class="spark-none"></span>`;
  return html`<svg class="spark" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} width=${WIDTH} height=${HEIGHT} role="img" aria-label=${`${label}: the new hosts drawn through, the old ones dashed`}>
    <path class="spark-old" d=${line(old, steps, most)} /><path class="spark-new" d=${line(fresh, steps, most)} />
  </svg>`;
}

/** @param {(number | null)[]} values
 * @param {number} steps
 * @param {number} most */
function line(values, steps, most) {
  let is_down = false;
  return values.map((value, step) => {
    if (value === null) { is_down = false; return ""; }
    const x = steps > 1 ? (step * (WIDTH - 2)) / (steps - 1) + 1 : WIDTH / 2, y = HEIGHT - 2 - (most > 0 ? (value / most) * (HEIGHT - 4) : 0);
    const drawn = `${is_down ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    is_down = true;
    return drawn;
  }).join("");
}
