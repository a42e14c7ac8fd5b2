// @ts-check
// Every application over all regions: what serves, what moves, what needs a person.

import { First } from "../first.js";
import { topic } from "../live.js";
import { whyNot } from "../may.js";
import { post, part } from "../api.js";
import { Ago, Bar, Button, Chip, Confirm, Filter, Loading, Page, Search, Table, Tabs } from "../parts.js";
import { FleetMap, RegionStrip } from "../strip.js";
import { html, useState } from "../vendor/preact.js";
import { counted, number } from "../words.js";

export const topics = () => ["fleet"];

/** @typedef {Record<string, any>} Row */

/** @param {Row} row */
function standing(row) {
  if (row.needs) return "needs";
  if (row.target) return "moving";
  if (/[fx]/.test(row.states)) return "failing";
  return "";
}

/** @param {import("../routes.js").ScreenProps} props */
export default function Fleet({ query }) {
  const fleet = topic("fleet").value;
  if (!fleet) return html`<${Page} title="Fleet"><${Loading} /><//>`;
  const rows = /** @type {Row[]} */ (fleet.items);
  if (!rows.length) return html`<${Page} title="Your first release" lead="Nothing is released yet. Four steps, ticked off as they happen."><${First} fleet=${fleet} /><//>`;
  const words = (query.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows.filter((row) => words.every((word) => `${row.name} ${row.version} ${row.target} ${row.known.join(" ")}`.toLowerCase().includes(word)));
  const count = { "": found.length, needs: 0, moving: 0, failing: 0 };
  for (const row of found) { const is = standing(row); if (is) count[/** @type {"needs"} */ (is)] += 1; }
  const shown = query.show ? found.filter((row) => standing(row) === query.show) : found;
  return html`<${Page} title="Fleet" lead=${lead(rows, fleet)} actions=${html`<${Freeze} />`}>
    ${rows.length === 1 && rows[0]?.number === 1 ? html`<${First} fleet=${fleet} />` : null}
    <div class="toolbar">
      <${Search} label="Search applications" />
      <${Filter} name="show" label="Show" count=${count} options=${[["", "All"], ["needs", "Need you"], ["moving", "Moving"], ["failing", "Failing"]]} />
      <span class="push"><${Tabs} name="view" label="View" options=${[["", "List"], ["matrix", "Matrix"]]} /></span>
    </div>
    ${shown.length === 0 ? html`<p class="nothing">No application is like this.</p>` : query.view === "matrix" ? html`<${FleetMap} rows=${shown} regions=${fleet.regions} />` : html`<${List} rows=${shown} regions=${fleet.regions} />`}
  <//>`;
}

/** @param {Row[]} rows
 * @param {Row} fleet */
function lead(rows, fleet) {
  const hosts = rows.reduce((sum, row) => sum + row.hosts, 0);
  const away = fleet.regions.length - fleet.connected;
  return `${counted(rows.length, "application")} on ${counted(hosts, "host")} in ${counted(fleet.regions.length, "region")}${away ? `, ${number(away)} unreachable` : ""}`;
}

/** @param {{rows: Row[], regions: string[]}} props */
function List({ rows, regions }) {
  const rank = (/** @type {Row} */ row) => (row.needs ? 0 : row.target ? 1 : /[fx]/.test(row.states) ? 2 : 3);
  return html`<${Table} label="Applications" rows=${rows} id=${(/** @type {Row} */ row) => row.name} initial="state" columns=${[
    { key: "name", title: "Application", primary: true, sort: (/** @type {Row} */ row) => row.name, cell: (/** @type {Row} */ row) => html`<a href=${`/apps/${part(row.name)}`}>${row.name}</a>` },
    { key: "version", title: "Version", sort: (/** @type {Row} */ row) => row.version, cell: (/** @type {Row} */ row) => html`<${Version} row=${row} />` },
    { key: "state", title: "Rollout", wide: true, sort: (/** @type {Row} */ row) => `${rank(row)} ${row.name}`, cell: (/** @type {Row} */ row) => html`<${Progress} row=${row} />` },
    { key: "regions", title: "Regions", cell: (/** @type {Row} */ row) => html`<${RegionStrip} row=${row} regions=${regions} />` },
    { key: "healthy", title: "Healthy", align: "end", sort: (/** @type {Row} */ row) => row.verified / (row.hosts || 1), cell: (/** @type {Row} */ row) => html`<span class=${row.verified < row.hosts ? "lacking" : ""}>${number(row.verified)}<span class="faint"> / ${number(row.hosts)}</span></span>` },
    { key: "oldest", title: "Oldest host", align: "end", spare: true, sort: (/** @type {Row} */ row) => -Date.parse(row.oldest_at ?? "2100-01-01"), cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.oldest_at} bare=${true} />` },
    { key: "last", title: "Last release", align: "end", sort: (/** @type {Row} */ row) => Date.parse(row.started_at ?? "1970-01-01"), cell: (/** @type {Row} */ row) => html`<span class="last"><${Ago} at=${row.started_at} />${row.started_by ? html`<span class="faint is-spare">${row.started_by}</span>` : null}</span>` },
  ]} />`;
}

/** @param {{row: Row}} props */
function Version({ row }) {
  if (!row.target || row.target === row.version) return html`<code>${row.version || "–"}</code>`;
  return html`<span class="versions"><code class="faint">${row.version || "none"}</code><span aria-label="to">→</span><code>${row.target}</code></span>`;
}

/** @param {{row: Row}} props */
function Progress({ row }) {
  if (!row.target) {
    return html`<span class="progress">${row.phase && row.phase !== "succeeded" ? html`<${Chip} phase=${row.phase} />` : row.frozen ? html`<${Chip} phase="waiting" text="frozen" />` : html`<span class="faint">At rest</span>`}${row.needs ? html`<span class="needs">${row.needs}</span>` : row.queued ? html`<span class="faint">${row.queued} queued</span>` : null}</span>`;
  }
  const moving = [...row.states].filter((letter) => letter === "m").length;
  return html`<a class="progress" href=${`/apps/${part(row.name)}/rollouts/${row.number}`}>
    <${Chip} phase=${row.phase} />
    <${Bar} of=${row.of} label="Regions" parts=${[{ value: row.done, tone: "live", text: `${row.done} done` }, { value: Math.min(moving, row.of - row.done), tone: "dim", text: `${moving} moving` }]} />
    <span class="num faint">${row.done}/${row.of}</span>
    <span class=${row.needs ? "needs" : "faint"}>${row.needs || row.step}</span>
  </a>`;
}

function Freeze() {
  const [is_open, setOpen] = useState(false);
  const frozen = topic("shell").value?.frozen;
  const reason = whyNot("freeze");
  return html`<${Button} reason=${reason} onClick=${() => setOpen(true)}>${frozen ? "Unfreeze everything" : "Freeze everything"}<//>
    ${is_open ? html`<${Confirm} title=${frozen ? "Let everything go on?" : "Freeze everything?"} verb=${frozen ? "Unfreeze everything" : "Freeze everything"} kind=${frozen ? "primary" : "danger"} needs=${!frozen} asks=${true} close=${() => setOpen(false)} act=${(/** @type {string} */ why) => post(frozen ? "freezes/all/lift" : "freezes/all", { reason: why })}>
      <p>${frozen ? "Rollouts go on where they stand, and queued releases begin." : "Nothing is released and running rollouts stand still, until someone lifts it. Hosts that serve are still replaced when they fail, and rollbacks still work."}</p>
    <//>` : null}`;
}
