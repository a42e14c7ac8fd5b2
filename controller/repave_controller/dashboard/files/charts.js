// @ts-check
// How the traffic of an application's server groups fares, as its balancers count it: four charts on one time.

import { get, part } from "./api.js";
import { Ago, Problem, colour, themed, useLoaded } from "./parts.js";
import uPlot from "./vendor/uplot.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { counted, duration, number, percent } from "./words.js";

/** @typedef {{name: string, version: string, requests: number[], errors: number[], share: (number | null)[], response_ms: (number | null)[]}} Group */
/** @typedef {{at: number, region: string, weights_bp: Record<string, number>}} Flip */
/** @typedef {{step_seconds: number, at: number[], items: Group[], flips: Flip[], unknown: Record<string, string>}} Traffic */
/** @typedef {{title: string, unit: string, most?: number, of: (group: Group, traffic: Traffic) => (number | null)[], text: (value: number) => string}} Kind */

const SPANS = /** @type {const} */ ([[1_800, "30 min"], [43_200, "12 h"]]);
const TONES = ["live", "away", "warn", "dim"];
const HEIGHT = 132;
const FLIPS_SHOWN = 3;

/** @type {Kind[]} */
const KINDS = [
  { title: "Share of requests", unit: "%", most: 100, of: (group) => group.share.map((each) => each === null ? null : each * 100), text: (value) => `${rounded(value)} %` },
  { title: "Requests", unit: "/s", of: (group, traffic) => group.requests.map((each) => each / traffic.step_seconds), text: (value) => `${rounded(value)} /s` },
  { title: "Errors", unit: "%", of: (group) => group.requests.map((each, slot) => each ? (100 * (group.errors[slot] ?? 0)) / each : null), text: (value) => `${rounded(value)} %` },
  { title: "Response time", unit: "ms", of: (group) => group.response_ms, text: (value) => `${rounded(value)} ms` },
];

/** @param {number} value */
function rounded(value) { return number(value >= 100 ? Math.round(value) : Number(value.toPrecision(2))); }

/** What was, for a rollout that has ended: as long as agents keep it.
 * @param {{app: string, since: number, until: number}} props milliseconds */
export function PastCharts({ app, since, until }) {
  const { data, problem } = useLoaded(() => get(`applications/${part(app)}/traffic`, { since: Math.floor(since / 1000) }), [app, since]);
  if (!data) return html`<${Problem} problem=${problem} />`;
  const traffic = before(data, until / 1000);
  const groups = newestFirst(traffic.items).filter((each) => each.requests.some(Boolean)).slice(0, TONES.length);
  if (!groups.length) return html`<p class="nothing">No requests are known of then. Agents count them for a day, and begin anew when they are restarted.</p>`;
  return html`<div class="charts"><${Legend} groups=${groups} /><div class="chart-grid">${KINDS.map((kind) => html`<${Chart} key=${kind.title} kind=${kind} groups=${groups} traffic=${traffic} />`)}</div><${Switches} flips=${traffic.flips} /></div>`;
}

/** @param {Traffic} traffic
 * @param {number} until
 * @returns {Traffic} */
function before(traffic, until) {
  const found = traffic.at.findIndex((at) => at > until);
  const end = found < 0 ? traffic.at.length : found;
  return {
    ...traffic,
    at: traffic.at.slice(0, end),
    items: traffic.items.map((each) => ({ ...each, requests: each.requests.slice(0, end), errors: each.errors.slice(0, end), share: each.share.slice(0, end), response_ms: each.response_ms.slice(0, end) })),
    flips: traffic.flips.filter((each) => each.at <= until),
  };
}

/** @param {{groups: Group[]}} props */
function Legend({ groups }) {
  return html`<ul class="chart-legend" aria-label="Server groups">${groups.map((each, index) => html`<li key=${each.name}><${Stroke} index=${index} />${each.name}${each.version ? html` <code>${each.version}</code>` : null}</li>`)}</ul>`;
}

/** Charts of one application, over all regions or in one; asked again while the tab is seen.
 * @param {{app: string, region?: string}} props */
export function TrafficCharts({ app, region = "" }) {
  const [span, setSpan] = useState(/** @type {number} */ (SPANS[0][0]));
  const { traffic, problem } = useTraffic(app, region, span);
  if (!traffic) return html`<${Problem} problem=${problem} />`;
  const groups = newestFirst(traffic.items).filter((each) => each.requests.some(Boolean)).slice(0, TONES.length);
  const unknown = Object.entries(traffic.unknown);
  return html`<div class="charts">
    <div class="toolbar"><div class="filter" role="group" aria-label="Time">${SPANS.map(([seconds, text]) => html`<button key=${seconds} type="button" aria-pressed=${span === seconds} onClick=${() => setSpan(seconds)}>${text}</button>`)}</div>
      ${groups.length ? html`<${Legend} groups=${groups} />` : null}
    </div>
    ${groups.length === 0
      ? html`<p class="nothing">${unknown.length && !traffic.at.length ? "No requests are known of." : `No requests in the last ${duration(span)}. They appear here as the region's balancer counts them.`}</p>`
      : html`<div class="chart-grid">${KINDS.map((kind) => html`<${Chart} key=${kind.title} kind=${kind} groups=${groups} traffic=${traffic} />`)}</div><${Switches} flips=${traffic.flips} />`}
    ${unknown.length ? html`<ul class="unknown">${byReason(unknown).map(([why, names]) => html`<li key=${why}><strong>${names.length > 3 ? counted(names.length, "region") : names.join(", ")}</strong> ${names.length > 1 ? "are" : "is"} not counted: ${why}</li>`)}</ul>` : null}
    <${Problem} problem=${problem} />
  </div>`;
}

/** Regions by why they are not counted.
 * @param {[string, string][]} unknown
 * @returns {[string, string[]][]} */
function byReason(unknown) {
  /** @type {Map<string, string[]>} */
  const found = new Map();
  for (const [name, why] of unknown) found.set(why, [...(found.get(why) ?? []), name]);
  return [...found];
}

/** @param {Group[]} groups */
function newestFirst(groups) {
  return [...groups].sort((one, other) => other.name.localeCompare(one.name, "en", { numeric: true }));
}

/** @param {{flips: Flip[]}} props */
function Switches({ flips }) {
  if (!flips.length) return null;
  return html`<ul class="switches" aria-label="Switches, newest first">${flips.slice(-FLIPS_SHOWN).reverse().map((flip) => html`<li key=${`${flip.region} ${flip.at}`}><${Ago} at=${new Date(flip.at * 1000).toISOString()} /> ${flip.region}: ${Object.entries(flip.weights_bp).map(([name, bp]) => `${name} ${percent(bp)}`).join(", ")}</li>`)}</ul>`;
}

/** The line of a group, as the charts draw it.
 * @param {{index: number}} props */
function Stroke({ index }) {
  return html`<svg class=${`stroke tone-${TONES[index]}`} width="18" height="8" aria-hidden="true"><line x1="0" y1="4" x2="18" y2="4" stroke-dasharray=${dash(index).join(" ") || undefined} /></svg>`;
}

/** @param {number} index */
function dash(index) { return index === 0 ? [] : index === 1 ? [5, 3] : [1, 3]; }

/** @param {{kind: Kind, groups: Group[], traffic: Traffic}} props */
function Chart({ kind, groups, traffic }) {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const plot = useRef(/** @type {uPlot | null} */ (null));
  const flips = useRef(traffic.flips);
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  flips.current = traffic.flips;
  const columns = groups.map((each) => kind.of(each, traffic));
  const names = groups.map((each) => each.name).join();
  useEffect(() => {
    const here = place.current;
    if (!here) return;
    loadStyle();
    const drawn = new uPlot(options(kind, groups.length, here.clientWidth, () => flips.current, setAt), [traffic.at, ...columns], here);
    plot.current = drawn;
    const watcher = new ResizeObserver(() => { if (here.clientWidth) drawn.setSize({ width: here.clientWidth, height: HEIGHT }); });
    watcher.observe(here);
    return () => { watcher.disconnect(); drawn.destroy(); plot.current = null; };
  }, [names, themed.value]);
  useEffect(() => { plot.current?.setData([traffic.at, ...columns]); }, [traffic]);
  const slot = at ?? traffic.at.length - 1;
  const time = at !== null && traffic.at[at] ? new Date((traffic.at[at] ?? 0) * 1000).toLocaleTimeString() : "";
  return html`<figure class="chart">
    <figcaption><h3>${kind.title}</h3><span class="num faint">${time}</span></figcaption>
    <div ref=${place} aria-hidden="true"></div>
    <ul class="values">${groups.map((each, index) => { const value = columns[index]?.[slot] ?? null; return html`<li key=${each.name}><${Stroke} index=${index} /><span class="sr">${each.name}: </span><span class="num">${value === null ? "–" : kind.text(value)}</span></li>`; })}</ul>
  </figure>`;
}

/** @param {Kind} kind
 * @param {number} count
 * @param {number} width
 * @param {() => Flip[]} flips
 * @param {(slot: number | null) => void} hovered
 * @returns {uPlot.Options} */
function options(kind, count, width, flips, hovered) {
  const axis = { stroke: colour("faint"), font: "11px Geist, system-ui", grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  return {
    width: Math.max(width, 80),
    height: HEIGHT,
    legend: { show: false },
    cursor: { sync: { key: "traffic" }, y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { y: { range: (_plot, _least, most) => [0, kind.most ?? Math.max(most * 1.1, 1)] } },
    axes: [{ ...axis, space: 70, size: 24, gap: 2, values: (_plot, splits, _axis, _space, step) => splits.map((each) => clock(each, step < 60)) }, { ...axis, size: 40, gap: 4, space: 36 }],
    series: [{}, ...Array.from({ length: count }, (_, index) => ({ stroke: colour(TONES[index] ?? "away"), width: index === 0 ? 1.75 : 1.25, dash: dash(index), points: { show: false }, spanGaps: false }))],
    hooks: {
      draw: [(plot) => drawFlips(plot, flips())],
      setCursor: [(plot) => hovered(plot.cursor.idx ?? null)],
    },
  };
}

/** @param {number} at
 * @param {boolean} is_fine */
function clock(at, is_fine) { return new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(is_fine ? { second: "2-digit" } : {}) }); }

/** A line at each switch.
 * @param {uPlot} plot
 * @param {Flip[]} flips */
function drawFlips(plot, flips) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour("text");
  ctx.globalAlpha = 0.5;
  ctx.lineWidth = Math.max(1, devicePixelRatio);
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const flip of flips) {
    const x = plot.valToPos(flip.at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

let is_styled = false;
function loadStyle() {
  if (is_styled) return;
  is_styled = true;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL("./vendor/uplot.css", import.meta.url).href;
  document.head.append(link);
}

// ------------------------------------------------------------------------------------------ asking

/** What is new is asked for alone, a slot at a time; nothing while the tab is hidden.
 * @param {string} app
 * @param {string} region
 * @param {number} span
 * @returns {{traffic: Traffic | null, problem: unknown}} */
function useTraffic(app, region, span) {
  const [state, setState] = useState(/** @type {{traffic: Traffic | null, problem: unknown}} */ ({ traffic: null, problem: null }));
  useEffect(() => {
    let is_wanted = true;
    /** @type {Traffic | null} */
    let known = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const ask = async () => {
      if (document.hidden) { timer = setTimeout(ask, 1000); return; }
      /** @type {unknown} */
      let problem = null;
      try {
        const last = known?.at.at(-1);
        const query = known && last ? { since: last + known.step_seconds } : { last: span };
        known = together(known, await get(`applications/${part(app)}/traffic`, { region, ...query }), span);
      } catch (error) { problem = error; }
      if (!is_wanted) return;
      setState({ traffic: known, problem });
      timer = setTimeout(ask, Math.max(5, known?.step_seconds ?? 15) * 1000);
    };
    setState({ traffic: null, problem: null });
    ask();
    return () => { is_wanted = false; clearTimeout(timer); };
  }, [app, region, span]);
  return state;
}

/** What was known, and what follows it.
 * @param {Traffic | null} known
 * @param {Traffic} fresh
 * @param {number} span
 * @returns {Traffic} */
export function together(known, fresh, span) {
  const last = known?.at.at(-1);
  if (!known || last === undefined || known.step_seconds > fresh.step_seconds) return fresh;
  const begin = (fresh.at.at(-1) ?? last) - span;
  const from = known.at.findIndex((at) => at >= begin);
  const kept = from < 0 ? known.at.length : from;
  const added = fresh.at.map((at, slot) => ({ at, slot })).filter((each) => each.at > last);
  const names = new Set([...known.items, ...fresh.items].map((each) => each.name));
  const items = [...names].map((name) => {
    const before = known.items.find((each) => each.name === name);
    const after = fresh.items.find((each) => each.name === name);
    /** @template Value
     * @param {"requests" | "errors" | "share" | "response_ms"} column
     * @param {Value} none
     * @returns {Value[]} */
    const joined = (column, none) => [
      ...known.at.slice(kept).map((_, slot) => /** @type {any} */ (before?.[column][kept + slot]) ?? none),
      ...added.map(({ slot }) => /** @type {any} */ (after?.[column][slot]) ?? none),
    ];
    return {
      name,
      version: after?.version || before?.version || "",
      requests: joined("requests", 0),
      errors: joined("errors", 0),
      share: joined("share", /** @type {number | null} */ (null)),
      response_ms: joined("response_ms", /** @type {number | null} */ (null)),
    };
  });
  return {
    step_seconds: fresh.step_seconds,
    at: [...known.at.slice(kept), ...added.map((each) => each.at)],
    items,
    flips: [...known.flips, ...fresh.flips.filter((each) => !known.flips.some((other) => other.at === each.at && other.region === each.region))].filter((each) => each.at >= begin),
    unknown: fresh.unknown,
  };
}
