// @ts-check
// Every region: whether its agent is there, until when its certificate is good, what runs on it.

import { topic } from "../live.js";
import { Ago, Chip, Empty, Filter, Loading, Page, Search, Table } from "../parts.js";
import { html } from "../vendor/preact.js";
import { counted, number } from "../words.js";

export const topics = () => ["regions"];

/** @typedef {Record<string, any>} Row */

/** The phase of a region's agent, as chips show it.
 * @param {Row} row */
export function phaseOf(row) { return !row.connected ? "away" : row.starting || row.troubles.length ? "warn" : "connected"; }

/** @param {Row} row */
export function phaseText(row) { return !row.connected ? "away" : row.starting ? "starting" : row.troubles.length ? "in trouble" : "connected"; }

/** @param {import("../routes.js").ScreenProps} props */
export default function Regions({ query }) {
  const rows = /** @type {Row[] | null} */ (topic("regions").value?.regions ?? null);
  if (!rows) return html`<${Page} title="Regions"><${Loading} /><//>`;
  if (!rows.length) {
    return html`<${Page} title="Regions"><${Empty} title="No agent has connected yet">Each region has an agent, which makes its hosts and moves its traffic. <a href="/access">Access</a> has the line that makes a machine the agent of a region.<//><//>`;
  }
  const words = (query.q ?? "").toLowerCase();
  const found = rows.filter((row) => `${row.name} ${row.provider} ${row.balancer}`.toLowerCase().includes(words));
  const ill = found.filter((row) => phaseOf(row) !== "connected");
  const shown = query.show === "ill" ? ill : found;
  const away = rows.filter((row) => !row.connected).length;
  return html`<${Page} title="Regions" lead=${`${counted(rows.length, "region")}${away ? `, ${number(away)} away` : ", all connected"}`}>
    <div class="toolbar"><${Search} label="Search regions" /><${Filter} name="show" label="Show" count=${{ "": found.length, ill: ill.length }} options=${[["", "All"], ["ill", "In trouble"]]} /></div>
    <${Table} label="Regions" rows=${shown} id=${(/** @type {Row} */ row) => row.name} initial="name" empty="No region is like this." columns=${[
      { key: "name", title: "Region", primary: true, sort: (/** @type {Row} */ row) => row.name, cell: (/** @type {Row} */ row) => html`<a href=${`/regions/${row.name}`}>${row.name}</a>` },
      { key: "agent", title: "Agent", wide: true, sort: (/** @type {Row} */ row) => `${phaseOf(row)} ${row.name}`, cell: (/** @type {Row} */ row) => html`<span class="pile"><span><${Chip} phase=${phaseOf(row)} text=${phaseText(row)} /> <span class="faint"><${Ago} at=${row.since} bare=${true} /></span></span>${row.troubles[0] ? html`<span class="soft small">${row.troubles[0]}</span>` : null}</span>` },
      { key: "provider", title: "Provider", sort: (/** @type {Row} */ row) => row.provider, cell: (/** @type {Row} */ row) => row.provider },
      { key: "balancer", title: "Balancer", sort: (/** @type {Row} */ row) => row.balancer, cell: (/** @type {Row} */ row) => row.balancer },
      { key: "apps", title: "Applications", align: "end", sort: (/** @type {Row} */ row) => -row.applications, cell: (/** @type {Row} */ row) => number(row.applications) },
      { key: "hosts", title: "Hosts", align: "end", sort: (/** @type {Row} */ row) => -row.hosts, cell: (/** @type {Row} */ row) => number(row.hosts) },
      { key: "certificate", title: "Certificate", align: "end", sort: (/** @type {Row} */ row) => row.certificate_until ?? "", cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.certificate_until} none="none" bare=${true} />` },
      { key: "version", title: "Version", align: "end", sort: (/** @type {Row} */ row) => row.agent_version, cell: (/** @type {Row} */ row) => html`<code>${row.agent_version}</code>` },
    ]} />
  <//>`;
}
