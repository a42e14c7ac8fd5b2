// @ts-check
// A plan, as `repave plan` tells it.

import { Bar, Chip, Copy, Section, Table } from "./parts.js";
import { html } from "./vendor/preact.js";
import { counted, duration, number, percent, waysIn } from "./words.js";

/** @typedef {Record<string, any>} Row */

/** @param {{plan: Row}} props */
export function PlanView({ plan }) {
  const steps = /** @type {Row[]} */ (plan.steps);
  const regions = /** @type {Row[]} */ (plan.regions);
  const most = Math.max(1, ...regions.flatMap((each) => each.moments.map(hostsOf)));
  const rows = steps.map((step, index) => ({ ...step, index, ...spread(regions, index) }));
  const guards = /** @type {Row[]} */ (plan.guards);
  return html`<div class="page plan">
    <dl class="figures">
      <div><dt>Creates</dt><dd class="num">${counted(plan.creates_hosts, "host")}</dd></div>
      <div><dt>Destroys</dt><dd class="num">${counted(plan.destroys_hosts, "host")}</dd></div>
      <div><dt>At most at once</dt><dd class="num">${counted(plan.peak_hosts, "host")}</dd></div>
      <div><dt>Takes at least</dt><dd class="num">${duration(plan.at_least_seconds)}</dd></div>
      ${plan.cost === null ? null : html`<div><dt>Costs more</dt><dd class="num">${number(plan.cost)} ${plan.currency}</dd></div>`}
      ${plan.fronts.length ? html`<div><dt>Clients come in at</dt><dd>${waysIn(plan.fronts)}</dd></div>` : null}
      <div><dt>Going back</dt><dd>${({ switch: "one switch", grow: "hosts first, then a switch", build: "built again" })[/** @type {"switch"} */ (plan.back)] ?? "nothing to go back to"}</dd></div>
    </dl>
    ${plan.problems.length ? html`<div class="problem" role="alert"><p>It would be refused now:</p><ul>${plan.problems.map((/** @type {string} */ text) => html`<li key=${text}>${text}</li>`)}</ul></div>` : null}
    ${plan.warnings?.length ? html`<ul class="soft">${plan.warnings.map((/** @type {string} */ text) => html`<li key=${text}>${text}</li>`)}</ul>` : null}
    ${plan.hint ? html`<p class="soft">${plan.hint}</p>` : null}
    <${Section} title="Steps" note=${waves(plan)}>
      <${Table} label="Steps" name="steps" rows=${rows} id=${(/** @type {Row} */ row) => String(row.index)} columns=${[
        { key: "kind", title: "Step", primary: true, cell: (/** @type {Row} */ row) => html`<span class="together"><span class="num faint">${row.index + 1}</span> ${row.kind}</span>` },
        { key: "traffic", title: plan.worker ? "Work" : "Traffic", align: "end", cell: (/** @type {Row} */ row) => row.traffic },
        { key: "hosts", title: "Hosts of a region", cell: (/** @type {Row} */ row) => html`<span class="plan-hosts"><${Bar} of=${most} label="Hosts" parts=${[{ value: row.newest, tone: "live", text: `${row.newest} new` }, { value: row.compared, tone: "dim", text: `${row.compared} baseline` }, { value: row.oldest, tone: "calm", text: `${row.oldest} old` }]} /><span class="num faint">${row.hosts}</span></span>` },
        { key: "seconds", title: "Time", align: "end", cell: (/** @type {Row} */ row) => row.seconds ? duration(row.seconds) : html`<span class="faint">–</span>` },
        { key: "text", title: "What it does", wide: true, cell: (/** @type {Row} */ row) => row.text.replace(`${row.kind}: `, "") },
      ]} />
    <//>
    ${plan.changes.length ? html`<${Section} title="Changes"><ul class="plain">${plan.changes.map((/** @type {string} */ text) => html`<li key=${text}>${text}</li>`)}</ul><//>` : null}
    ${guards.length ? html`<${Section} title="Guards"><ul class="plain">${guards.map((each) => html`<li key=${each.rule + each.text} class="guard"><${Chip} phase=${each.refuses ? "fail" : "ok"} text=${each.rule} /><span>${each.text}${each.remedy?.text ? html`<span class="faint"> ${each.remedy.text}</span>` : null}</span></li>`)}</ul><//>` : null}
    <${Section} title="Regions">
      <${Table} label="Regions" name="regions" rows=${regions} id=${(/** @type {Row} */ row) => row.name} columns=${[
        { key: "name", title: "Region", primary: true, wide: true, sort: (/** @type {Row} */ row) => row.name, cell: (/** @type {Row} */ row) => row.name },
        { key: "wave", title: "Wave", align: "end", sort: (/** @type {Row} */ row) => row.wave, cell: (/** @type {Row} */ row) => row.wave },
        { key: "creates", title: "Creates", align: "end", sort: (/** @type {Row} */ row) => row.creates, cell: (/** @type {Row} */ row) => number(row.creates) },
        { key: "keeps", title: "Keeps warm", align: "end", cell: (/** @type {Row} */ row) => number(row.keeps_warm) },
        { key: "destroys", title: "Destroys", align: "end", cell: (/** @type {Row} */ row) => number(row.destroys) },
        { key: "peak", title: "Peak", align: "end", cell: (/** @type {Row} */ row) => number(row.peak) },
        { key: "floor", title: "Never below", align: "end", cell: (/** @type {Row} */ row) => number(row.floor) },
      ]} />
    <//>
    <p class="soft">Plan <code>${plan.id}</code> is good while nothing changes.</p>
    <${Copy} label="the command" text=${`repave release --plan ${plan.id}`} />
  </div>`;
}

/** All hosts of a region in a step.
 * @param {Row} moment */
function hostsOf(moment) { return moment.new_hosts + moment.old_hosts + moment.baseline_hosts; }

/** What a step is in its regions: one number where they are alike, else from the least to the most.
 * @param {Row[]} regions
 * @param {number} index */
function spread(regions, index) {
  const moments = regions.map((each) => each.moments[index]).filter(Boolean);
  const range = (/** @type {(moment: Row) => number} */ of) => { const values = moments.map(of); return [Math.min(...values), Math.max(...values)]; };
  if (!moments.length) return { traffic: "", hosts: "", newest: 0, oldest: 0, compared: 0, seconds: 0 };
  const said = (/** @type {number[]} */ [least, most], /** @type {string} */ word) => most ? `${least === most ? most : `${least}–${most}`} ${word}` : "";
  const [fresh, old, weight] = [range((each) => each.new_hosts), range((each) => each.old_hosts), range((each) => each.weight_bp)];
  const compared = range((each) => each.baseline_hosts);
  return {
    traffic: percent(weight[1] ?? 0),
    hosts: [said(fresh, "new"), said(old, "old"), said(compared, "baseline")].filter(Boolean).join(", "),
    newest: fresh[1] ?? 0,
    oldest: old[1] ?? 0,
    compared: compared[1] ?? 0,
    seconds: range((each) => each.seconds)[1] ?? 0,
  };
}

/** @param {Row} plan */
function waves(plan) {
  const approvals = plan.waves.filter((/** @type {Row} */ each) => each.approve).length;
  return [counted(plan.waves.length, "wave"), plan.strategy, approvals ? `${counted(approvals, "approval")}` : ""].filter(Boolean).join(", ");
}
