// @ts-check
// A release of a spec in a simulated fleet, by the controller's own code in virtual time: its timeline, capacity, ways back, faults.

import { Problem as ApiProblem, post } from "../api.js";
import { Button, Chip, Page, Problem, Section, Table, colour, themed, useNow } from "../parts.js";
import { SpecBox, keptSpec } from "../specbox.js";
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { counted, duration } from "../words.js";

export const topics = () => ["fleet"];

/** @typedef {Record<string, any>} Row */

/** The last result, kept while the tab lives. */
let kept = /** @type {Row | null} */ (null);

export default function Simulate() {
  const [spec, setSpec] = useState(keptSpec());
  const [result, setResult] = useState(kept);
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const [began, setBegan] = useState(0);
  const run = async (/** @type {string[]} */ faults) => {
    setProblem(null);
    setBegan(Date.now());
    try { kept = await post("simulations", { spec, faults }); setResult(kept); } catch (error) { setProblem(error); } finally { setBegan(0); }
  };
  const places = problem instanceof ApiProblem && problem.rule === "spec" ? problem.problems : [];
  const reason = began ? "one runs" : spec.trim() ? "" : "paste a spec first";
  return html`<${Page} title="Simulate" lead="Rehearse a release in a simulated fleet, with the production code in virtual time. Hosts, networks and balancers are simulated; your application is not. It changes nothing.">
    <${SpecBox} text=${spec} change=${setSpec} places=${places} fail=${setProblem} />
    <div class="actions">
      <${Button} kind="primary" reason=${reason} onClick=${() => run([])}>Run it without faults<//>
      <${Button} reason=${reason} onClick=${() => run(["all"])}>Run it with every fault at each step<//>
      ${began ? html`<${Running} began=${began} />` : html`<span class="faint">Seconds without faults, a minute or more with all of them. It runs on this controller, last in line for its processor.</span>`}
    </div>
    ${places.length ? null : html`<${Problem} problem=${problem} />`}
    ${result ? html`<${Result} result=${result} />` : null}
  <//>`;
}

/** @param {{began: number}} props */
function Running({ began }) {
  const now = useNow();
  return html`<span class="soft" role="status">Simulating for ${duration(Math.max(0, now - began) / 1000)}</span>`;
}

/** @param {{result: Row}} props */
function Result({ result }) {
  const calm = result.calm;
  const faults = /** @type {Row[]} */ (result.faults);
  const worst = faults.filter((each) => !each.is_fine).length;
  return html`<div class="page">
    <${Section} title=${result.application} note=${html`<${Chip} phase=${calm.ended} /> when nothing goes wrong, after ${duration(calm.seconds)}`}>
      <${Timeline} calm=${calm} regions=${result.regions} />
      <p class="faint">A boot takes about ${duration(result.boot_seconds)}. What served before: ${result.regions.map((/** @type {Row} */ each) => `${each.name} ${each.old_size}`).join(", ")} hosts. ${result.is_whole_code ? "The whole code of a release ran" : "The deciding code ran"}, approvals were given at once, and windows and freezes left out.</p>
    <//>
    <${Section} title="Capacity" note="hosts that get requests and answer them">
      <${Table} label="Capacity" name="capacity" rows=${calm.regions} id=${(/** @type {Row} */ row) => row.region} columns=${[
        { key: "region", title: "Region", primary: true, wide: true, cell: (/** @type {Row} */ row) => row.region },
        { key: "floor", title: "Floor", align: "end", cell: (/** @type {Row} */ row) => result.regions.find((/** @type {Row} */ each) => each.name === row.region)?.floor },
        { key: "lowest", title: "Lowest", align: "end", cell: (/** @type {Row} */ row) => `${row.lowest} (${Math.round(row.lowest_percent)} %)` },
        { key: "peak", title: "Peak hosts", align: "end", cell: (/** @type {Row} */ row) => `${row.peak_hosts} (${Math.round(row.peak_hosts_percent)} %)` },
      ]} />
    <//>
    ${result.rollbacks.length ? html`<${Section} title="Going back" note="asked for in the middle of each step">
      <${Table} label="Ways back" name="back" rows=${result.rollbacks} id=${(/** @type {Row} */ row) => row.step + row.fault} columns=${[
        { key: "step", title: "Asked in", primary: true, cell: (/** @type {Row} */ row) => `${row.step}${row.fault ? ", one old host just lost" : ""}` },
        { key: "traffic", title: "Traffic back", align: "end", cell: (/** @type {Row} */ row) => row.is_refused ? "refused" : row.traffic_seconds === null ? "it never left" : duration(row.traffic_seconds) },
        { key: "settled", title: "All settled", align: "end", cell: (/** @type {Row} */ row) => row.is_refused || row.settled_seconds === null ? "–" : duration(row.settled_seconds) },
        { key: "why", title: "", wide: true, cell: (/** @type {Row} */ row) => row.why || "" },
      ]} />
    <//>` : null}
    ${faults.length ? html`<${Section} title="Faults" note=${worst ? `${worst} of ${faults.length} runs ended badly` : `${faults.length} runs, all fine or gone back by themselves`}><${Faults} faults=${faults} steps=${calm.steps} /><//>` : null}
    ${result.advice.length ? html`<${Section} title="Settings that would help" note="each was tried"><ul class="plain">${result.advice.map((/** @type {Row} */ each) => html`<li key=${each.field + each.value}><code>${each.field}: ${each.now} → ${each.value}</code> <span class="soft">${[each.helps].flat().join(", ")}</span></li>`)}</ul><//>` : null}
    ${result.broken_promises.length ? html`<${Problem} problem=${{ detail: `A promise of repave broke. Please report it, with the spec: ${result.broken_promises.map(String).join("; ")}` }} />` : null}
  </div>`;
}

const VERDICTS = /** @type {Record<string, [string, string]>} */ ({
  "came-through": ["good", "ok"], "went-back": ["warn", "back"], "fell-below": ["bad", "FELL"], "not-seen": ["bad", "UNSEEN"], held: ["bad", "HELD"], "never-ended": ["bad", "STUCK"], "promise-broken": ["bad", "BUG"],
});

/** Each fault by step. @param {{faults: Row[], steps: Row[]}} props */
function Faults({ faults, steps }) {
  const whole = faults.filter((each) => !each.step);
  const names = [...new Set(faults.filter((each) => each.step).map((each) => `${each.fault}|${each.group || ""}`))];
  const columns = [...new Set([...steps.map((each) => each.step), ...faults.map((each) => each.step).filter(Boolean)])];
  const cell = (/** @type {Row | undefined} */ each) => {
    if (!each) return null;
    const [tone, text] = VERDICTS[each.verdict] ?? ["calm", each.verdict];
    return html`<span class=${`verdict tone-${tone}`} title=${`${each.text || each.fault}: ${each.ended}${each.reason ? `, ${each.reason}` : ""}`}>${text}${each.lowest_percent < 99.5 ? html` <span class="num faint">${Math.round(each.lowest_percent)} %</span>` : null}</span>`;
  };
  const rows = [...whole.map((each) => ({ name: each.fault, group: "", whole: each })), ...names.map((each) => ({ name: each.split("|")[0], group: each.split("|")[1], whole: undefined }))];
  return html`<${Table} label="Faults" name="faults" rows=${rows} id=${(/** @type {Row} */ row) => `${row.name} ${row.group}`} columns=${[
    { key: "name", title: "Fault", primary: true, cell: (/** @type {Row} */ row) => html`${row.name}${row.group ? html` <span class="faint">${row.group}</span>` : null}` },
    ...columns.map((step, index) => ({ key: step, title: step, wide: index === columns.length - 1, cell: (/** @type {Row} */ row) => row.whole ? (index === 0 ? cell(row.whole) : null) : cell(faults.find((each) => each.fault === row.name && (each.group || "") === row.group && each.step === step)) })),
  ]} />`;
}

const LANE = 58;
const TOP = 30;

/** The run without faults: for each region the hosts of both groups over time, and where requests went. @param {{calm: Row, regions: Row[]}} props */
function Timeline({ calm, regions }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const height = TOP + regions.length * LANE;
  const theme = themed.value;
  useEffect(() => {
    const element = canvas.current;
    if (!element) return undefined;
    const redraw = () => draw(element, calm, regions, height);
    const watching = new ResizeObserver(redraw);
    watching.observe(element.parentElement ?? element);
    redraw();
    return () => watching.disconnect();
  }, [calm, height, theme]);
  const said = `${calm.steps.map((/** @type {Row} */ each) => `${each.step} from ${duration(each.begins)} to ${duration(each.ends)}`).join(", ")}. ${calm.regions.map((/** @type {Row} */ each) => `${each.region}: never below ${each.lowest} answering hosts`).join(", ")}.`;
  return html`<figure class="timeline"><canvas ref=${canvas} role="img" aria-label=${`Timeline: ${said}`} style=${{ height: `${height}px` }}></canvas>
    <figcaption class="legend faint"><span><i class="swatch tone-calm"></i>old group</span><span><i class="swatch tone-live"></i>new group</span><span><i class="swatch is-pale"></i>not well yet</span><span>line below: where requests go</span></figcaption></figure>`;
}

/** @param {HTMLCanvasElement} canvas
 * @param {Row} calm
 * @param {Row[]} regions
 * @param {number} height */
function draw(canvas, calm, regions, height) {
  const width = canvas.parentElement?.clientWidth ?? 800;
  const scale = devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(scale, scale);
  const style = getComputedStyle(canvas);
  context.font = `12px ${style.fontFamily}`;
  const left = Math.min(120, width / 4);
  const end = Math.max(calm.seconds, 1e-6);
  const x = widths(calm.steps, end, left, width - 8, context);
  for (const step of calm.steps) {
    context.fillStyle = colour("line");
    context.fillRect(x(step.begins), 0, 1, height);
    context.fillStyle = colour("text");
    context.fillText(step.step, x(step.begins) + 5, 11);
    context.fillStyle = colour("faint");
    context.fillText(duration(step.begins), x(step.begins) + 5, 25);
  }
  for (const [index, region] of regions.entries()) {
    const top = TOP + index * LANE;
    const samples = /** @type {Row[]} */ (calm.samples.filter((/** @type {Row} */ each) => each.region === region.name));
    const most = Math.max(1, ...samples.map((each) => Math.max(each.old, each.new)), region.size, region.old_size);
    context.fillStyle = colour("text");
    context.fillText(region.name, 0, top + 22, left - 12);
    context.fillStyle = colour("faint");
    context.fillText(`${region.old_size} → ${region.size}`, 0, top + 38);
    for (const [place, sample] of samples.entries()) {
      const from = Math.round(x(sample.at));
      const wide = Math.max(1, Math.round(x(samples[place + 1]?.at ?? end)) - from);
      bar(context, from, top + 20, wide, 14, sample.old, sample.old_well, most, "away");
      bar(context, from, top + 38, wide, 14, sample.new, sample.new_well, most, "live");
      const share = sample.routed_bp ? sample.share_bp / sample.routed_bp : 0;
      if (sample.routed_bp) {
        context.fillStyle = colour("away");
        context.fillRect(from, top + 42, wide, 6);
        context.fillStyle = colour("live");
        context.fillRect(from, top + 48 - 6 * share, wide, 6 * share);
      }
    }
  }
}

/** Hosts as the height of a bar that stands on `base`: those that are well in full, the others pale.
 * @param {CanvasRenderingContext2D} context
 * @param {number} from
 * @param {number} base
 * @param {number} wide
 * @param {number} high
 * @param {number} there
 * @param {number} well
 * @param {number} most
 * @param {string} tone */
function bar(context, from, base, wide, high, there, well, most, tone) {
  context.fillStyle = colour(tone);
  context.globalAlpha = 0.28;
  context.fillRect(from, base - (high * there) / most, wide, (high * there) / most);
  context.globalAlpha = 1;
  context.fillRect(from, base - (high * well) / most, wide, (high * well) / most);
}

/** Time to pixels: in proportion, but each step as wide as its name.
 * @param {Row[]} steps
 * @param {number} end
 * @param {number} left
 * @param {number} right
 * @param {CanvasRenderingContext2D} context
 * @returns {(at: number) => number} */
function widths(steps, end, left, right, context) {
  const least = steps.map((each) => Math.max(context.measureText(each.step).width, context.measureText(duration(each.begins)).width) + 12);
  const spare = Math.max(0, right - left - least.reduce((sum, each) => sum + each, 0));
  const total = steps.reduce((sum, each) => sum + (each.ends - each.begins), 0) || 1;
  const marks = [left];
  for (const [index, step] of steps.entries()) marks.push((marks[index] ?? left) + (least[index] ?? 0) + (spare * (step.ends - step.begins)) / total);
  return (at) => {
    const index = Math.max(0, steps.findLastIndex((each) => each.begins <= at));
    const step = steps[index];
    if (!step) return left + ((right - left) * at) / end;
    const part = step.ends > step.begins ? Math.min(1, (at - step.begins) / (step.ends - step.begins)) : 1;
    return (marks[index] ?? left) + part * ((marks[index + 1] ?? right) - (marks[index] ?? left));
  };
}
