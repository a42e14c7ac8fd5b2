// @ts-check
// How old hosts are against what their specs allow, which were changed or tainted, and when the next are due.

import { get, part, post } from "../api.js";
import { topic } from "../live.js";
import { whyNot } from "../may.js";
import { Ago, Bar, Button, Chip, Confirm, Empty, Filter, Loading, Page, Problem, Table, useLoaded } from "../parts.js";
import { html, useState } from "../vendor/preact.js";
import { counted, duration, number } from "../words.js";

export const topics = () => ["fleet"];

/** @typedef {Record<string, any>} Row */

/** @param {Row} row */
function worn(row) { return row.aged + row.drifted + row.outdated + row.tainted; }

/** @param {import("../routes.js").ScreenProps} props */
export default function Ages({ query }) {
  const fleet = topic("fleet").value;
  const { data, problem, again } = useLoaded(() => get("ages"), [], [fleet]);
  const [renewed, setRenewed] = useState("");
  if (!data) return html`<${Page} title="Ages">${problem ? html`<${Problem} problem=${problem} again=${again} />` : html`<${Loading} />`}<//>`;
  const rows = /** @type {Row[]} */ (data.items);
  if (!rows.length) return html`<${Page} title="Ages"><${Empty} title="No host is there yet" lines=${["repave ages"]}>Once hosts run, this page shows how old they are, and which are no longer as they were made.<//><//>`;
  const ill = rows.filter((row) => worn(row) > 0);
  const shown = query.show === "worn" ? ill : rows;
  const hosts = rows.reduce((sum, row) => sum + row.hosts, 0), sum = ill.reduce((total, row) => total + worn(row), 0);
  return html`<${Page} title="Ages" lead=${`${counted(hosts, "host")}, ${sum ? `${number(sum)} to be replaced` : "none to be replaced"}`}>
    <div class="toolbar"><${Filter} name="show" label="Show" count=${{ "": rows.length, worn: ill.length }} options=${[["", "All"], ["worn", "To be replaced"]]} /></div>
    <${Table} label="Ages of hosts" rows=${shown} id=${(/** @type {Row} */ row) => `${row.application} ${row.region} ${row.group}`} initial="age" empty="No host is to be replaced." columns=${[
      { key: "name", title: "Application", primary: true, sort: (/** @type {Row} */ row) => `${row.application} ${row.region}`, cell: (/** @type {Row} */ row) => html`<a href=${`/apps/${part(row.application)}`}>${row.application}</a>` },
      { key: "region", title: "Region", sort: (/** @type {Row} */ row) => row.region, cell: (/** @type {Row} */ row) => html`<a href=${`/regions/${part(row.region)}?view=hosts`}>${row.region}</a>` },
      { key: "group", title: "Group", sort: (/** @type {Row} */ row) => row.group, cell: (/** @type {Row} */ row) => html`<span class="name">${row.group} <${Chip} phase=${row.state} /></span>` },
      { key: "hosts", title: "Hosts", align: "end", sort: (/** @type {Row} */ row) => -row.hosts, cell: (/** @type {Row} */ row) => number(row.hosts) },
      { key: "age", title: "Oldest", wide: true, sort: (/** @type {Row} */ row) => Date.parse(row.oldest_at ?? "2100-01-01"), cell: (/** @type {Row} */ row) => html`<${Age} row=${row} />` },
      { key: "worn", title: "To be replaced", sort: (/** @type {Row} */ row) => -worn(row), cell: (/** @type {Row} */ row) => html`<${Worn} row=${row} />` },
      { key: "due", title: "Next due", align: "end", sort: (/** @type {Row} */ row) => Date.parse(row.due_at ?? "2100-01-01"), cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.due_at} bare=${true} />` },
      { key: "do", title: "Renew", cell: (/** @type {Row} */ row) => html`<${Button} kind="quiet" label=${`Renew ${row.application}`} reason=${whyNot("steer", row.application)} onClick=${() => setRenewed(row.application)}>Renew<//>` },
    ]} />
    ${renewed ? html`<${Confirm} title=${`Renew all hosts of ${renewed}?`} verb="Renew" asks=${true} close=${() => setRenewed("")} act=${async (/** @type {string} */ why) => { await post(`applications/${part(renewed)}/renew`, { reason: why }); again(); }}>
      <p>Each host is replaced by a fresh one of the same release, a few at a time, once that one serves.</p>
    <//>` : null}
  <//>`;
}

/** Against the age that the spec allows.
 * @param {{row: Row}} props */
function Age({ row }) {
  if (!row.oldest_at) return html`<span class="faint">–</span>`;
  if (!row.max_age_seconds) return html`<${Ago} at=${row.oldest_at} bare=${true} />`;
  const age = Math.min(row.max_age_seconds, (Date.now() - Date.parse(row.oldest_at)) / 1000);
  return html`<span class="weigh"><${Bar} of=${row.max_age_seconds} label="Age" parts=${[{ value: age, tone: row.aged ? "warn" : "live", text: `${duration(age)} of ${duration(row.max_age_seconds)}` }]} /><span class="small"><${Ago} at=${row.oldest_at} bare=${true} /> <span class="faint">of ${duration(row.max_age_seconds)}</span></span></span>`;
}

/** @param {{row: Row}} props */
function Worn({ row }) {
  const said = /** @type {[string, number][]} */ ([["too old", row.aged], ["changed", row.drifted], ["tainted", row.tainted], ["to renew", row.outdated]]).filter(([, count]) => count > 0);
  if (!said.length) return html`<span class="faint">none</span>`;
  return html`<span class="pile"><span>${said.map(([text, count]) => html`<${Chip} key=${text} phase="warn" text=${`${count} ${text}`} /> `)}</span>
    <span class="soft small">${row.worn.slice(0, 5).map((/** @type {Row} */ each) => html`<a key=${each.host} href=${`/hosts/${part(row.region)}/${part(each.host)}`}>${each.host}</a> `)}${row.replacing ? `, ${number(row.replacing)} being replaced` : ""}</span></span>`;
}
