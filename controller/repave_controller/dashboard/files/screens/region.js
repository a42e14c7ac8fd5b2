// @ts-check
// One region: its agent, what its balancer was asked and acknowledges, its hosts, its provider's room.

import { get, part } from "../api.js";
import { TrafficCharts } from "../charts.js";
import { topic } from "../live.js";
import { whyNot } from "../may.js";
import { Ago, Button, Chip, Empty, HostGrid, Loading, Page, Problem, Section, Table, Tabs, Weight, hostsText, useLoaded } from "../parts.js";
import { setQuery } from "../router.js";
import { html, useState } from "../vendor/preact.js";
import { counted, duration, number, percent, placeOf } from "../words.js";
import { phaseOf, phaseText } from "./regions.js";

/** @typedef {Record<string, any>} Row */
const HOSTS_SHOWN = 200;
const ROOM_ASKED = 10;

/** @param {Record<string, string>} params */
export const topics = (params) => [`region:${params.region}`];

/** @param {import("../routes.js").ScreenProps} props */
export default function Region({ params, query }) {
  const name = params.region ?? "";
  const said = topic(`region:${name}`).value;
  const crumbs = [["Regions", "/regions"]];
  if (!said) return html`<${Page} title=${name} crumbs=${crumbs}><${Loading} /><//>`;
  if (said.problem) return html`<${Page} title=${name} crumbs=${crumbs}><${Problem} problem=${said.problem} /><//>`;
  const region = /** @type {Row} */ (said.region), items = /** @type {Row[]} */ (said.items);
  return html`<${Page} title=${name} crumbs=${crumbs} lead=${html`<${Chip} phase=${phaseOf(region)} text=${phaseText(region)} /> for <${Ago} at=${region.since} bare=${true} />`}>
    ${region.troubles.map((/** @type {string} */ trouble) => html`<${Problem} key=${trouble} problem=${{ detail: trouble }} />`)}
    <${Tabs} name="view" label="View" options=${[["", "Applications"], ["hosts", "Hosts"]]} />
    ${query.view === "hosts" ? html`<${Hosts} region=${name} applications=${items} />` : html`<${Applications} items=${items} region=${name} query=${query} />`}
    <${Agent} region=${region} />
  <//>`;
}

/** @param {{items: Row[], region: string, query: Record<string, string>}} props */
function Applications({ items, region, query }) {
  if (!items.length) return html`<${Empty} title="No application is here" lines=${["repave release"]}>A release whose spec names ${region} makes the first hosts in it.<//>`;
  const chosen = items.find((each) => each.name === query.app) ?? (items.length === 1 ? items[0] : undefined);
  return html`${items.map((item) => html`<${Section} key=${item.name} title=${html`<a href=${`/apps/${item.name}`}>${item.name}</a>`} note=${note(item)}><${Groups} item=${item} region=${region} /><//>`)}
    ${chosen && !chosen.groups.some((/** @type {Row} */ each) => each.worker) ? html`<${Section} title=${`Traffic of ${chosen.name} here`}><${TrafficCharts} app=${chosen.name} region=${region} /><//>` : null}`;
}

/** @param {Row} item */
function note(item) {
  const step = item.rollout ? html`<a href=${`/apps/${item.name}/rollouts/${item.rollout}`}>rollout ${item.rollout}</a> ${item.phase}${item.step ? html`, ${item.step} for <${Ago} at=${item.step_since} bare=${true} />` : null}` : "at rest";
  const scaled = item.scaling ? `, ${counted(item.scaling.hosts, "host")} of ${item.scaling.text}` : "";
  return html`${step}${scaled}${item.current ? null : html`, the newest desired state is not confirmed yet`}${item.reason ? `: ${item.reason}` : ""}`;
}

/** What the balancer was asked for, and what it acknowledges.
 * @param {{item: Row, region: string}} props */
function Groups({ item, region }) {
  return html`<${Table} label=${`Server groups of ${item.name}`} name=${`sort-${item.name}`} rows=${item.groups} id=${(/** @type {Row} */ row) => row.name} initial="-name" empty="No server group is here." columns=${[
    { key: "name", title: "Group", primary: true, sort: (/** @type {Row} */ row) => row.name, cell: (/** @type {Row} */ row) => html`<span class="pile"><span>${row.name} <code>${row.version}</code></span>${row.trouble ? html`<span class="soft small">${row.trouble}</span>` : null}</span>` },
    { key: "state", title: "State", sort: (/** @type {Row} */ row) => row.state, cell: (/** @type {Row} */ row) => html`<${Chip} phase=${row.state} />` },
    { key: "hosts", title: "Hosts", cell: (/** @type {Row} */ row) => html`<span class="pile"><${HostGrid} group=${row} label=${row.name} width=${200} region=${region} /><span class="soft small">${hostsText(row)}</span></span>` },
    { key: "weight", title: item.groups.some((/** @type {Row} */ each) => each.worker) ? "Work" : "Traffic", wide: true, sort: (/** @type {Row} */ row) => -row.weight_bp, cell: (/** @type {Row} */ row) => html`<span class="weigh"><${Weight} bp=${row.weight_bp} wanted=${row.wanted_weight_bp} tone=${row.state === "new" ? "live" : "good"} label=${row.name} works=${row.worker} /><span class="num small">${percent(row.weight_bp)}${row.weight_bp === row.wanted_weight_bp ? "" : html`<span class="faint"> of ${percent(row.wanted_weight_bp)} wanted</span>`}</span></span>` },
    { key: "up", title: "Up in balancer", align: "end", cell: (/** @type {Row} */ row) => number(row.balancer_up) },
    { key: "flight", title: "In flight", align: "end", sort: (/** @type {Row} */ row) => -row.in_flight, cell: (/** @type {Row} */ row) => number(row.in_flight) },
  ]} />`;
}

/** @param {{region: string, applications: Row[]}} props */
function Hosts({ region, applications }) {
  const key = applications.map((each) => each.groups.map((/** @type {Row} */ group) => hostsText(group)).join()).join();
  const { data, problem, again } = useLoaded(() => get("hosts", { region, limit: HOSTS_SHOWN }), [region], [key]);
  if (!data) return problem ? html`<${Problem} problem=${problem} again=${again} />` : html`<${Loading} />`;
  const silent = data.unreachable[region];
  const rows = /** @type {Row[]} */ (data.items);
  return html`<${Section} title="Hosts" note=${rows.length > HOSTS_SHOWN ? `the first ${HOSTS_SHOWN} of ${rows.length}` : counted(rows.length, "host")}>
    ${silent ? html`<${Problem} problem=${{ detail: silent }} again=${again} />` : null}
    <${HostTable} rows=${rows.slice(0, HOSTS_SHOWN)} />
  <//>`;
}

/** @param {{rows: Row[]}} props */
export function HostTable({ rows }) {
  return html`<${Table} label="Hosts" name="order" rows=${rows} id=${(/** @type {Row} */ row) => `${row.region} ${row.name}`} initial="name" empty="No host is here." columns=${[
    { key: "name", title: "Host", primary: true, sort: (/** @type {Row} */ row) => row.name, cell: (/** @type {Row} */ row) => html`<${HostLink} region=${row.region} name=${row.name} />` },
    { key: "phase", title: "Phase", sort: (/** @type {Row} */ row) => row.phase, cell: (/** @type {Row} */ row) => html`<${HostPhase} host=${row} />` },
    { key: "address", title: "Address", sort: (/** @type {Row} */ row) => row.address, cell: (/** @type {Row} */ row) => html`<code>${placeOf(row)}</code>` },
    { key: "age", title: "Age", align: "end", sort: (/** @type {Row} */ row) => -row.age_seconds, cell: (/** @type {Row} */ row) => duration(row.age_seconds) },
    { key: "trouble", title: "Trouble", wide: true, cell: (/** @type {Row} */ row) => html`<span class="soft">${row.trouble || row.worn || "–"}</span>` },
  ]} />`;
}

/** Opens it beside the page; in a tab of its own, or shared, it is a page.
 * @param {{region: string, name: string}} props */
export function HostLink({ region, name }) {
  const open = (/** @type {MouseEvent} */ event) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    setQuery({ host: `${region}/${name}`, hosts: "" });
  };
  return html`<a href=${`/hosts/${part(region)}/${part(name)}`} onClick=${open}>${name}</a>`;
}

/** @type {Record<string, string>} */
const TONES = { verified: "good", healthy: "good", starting: "live", launching: "live", unhealthy: "warn", failed: "bad" };

/** @param {{host: Row}} props */
export function HostPhase({ host }) {
  return html`<${Chip} phase=${host.gone_at ? "gone" : host.phase} tone=${host.gone_at ? "calm" : TONES[host.phase] ?? "calm"} />`;
}

/** @param {{region: Row}} props */
function Agent({ region }) {
  const facts = /** @type {[string, import("../parts.js").Children][]} */ ([
    ["Agent", html`<code>${region.agent_version || "–"}</code> <span class="faint">${region.instance.slice(0, 8)}</span>`],
    ["Certificate", region.certificate_until ? html`good for <${Ago} at=${region.certificate_until} bare=${true} />` : "none: its connection is not by certificate, or it is away"],
    ["Clock", Math.abs(region.clock_offset_seconds) > 1 ? `${duration(Math.abs(region.clock_offset_seconds))} ${region.clock_offset_seconds > 0 ? "ahead" : "behind"}` : "as the controller's"],
    ["Last report", html`<${Ago} at=${region.reported_at} none=${region.connected ? "none yet" : "–"} />`],
    ["In hand", inHand(region)],
    ["Provider", region.provider], ["Balancer", region.balancer],
    ["Clients come in at", region.traffic_address || "–"],
    ...(region.dns ? /** @type {[string, string][]} */ ([["DNS", region.dns]]) : []),
    ...(region.stand_by ? /** @type {[string, string][]} */ ([["Stand-by", region.stand_by.slice(0, 8)]]) : []),
  ]);
  return html`<div class="split"><${Section} title="Agent"><dl class="facts">${facts.map(([term, text]) => html`<dt key=${term}>${term}</dt><dd>${text}</dd>`)}</dl><//>
    <${Room} region=${region} /></div>`;
}

/** Hosts that it makes and that it ends now.
 * @param {Row} region */
function inHand(region) {
  const said = [region.launching ? `makes ${counted(region.launching, "host")}` : "", region.destroying ? `ends ${counted(region.destroying, "host")}` : ""];
  return said.filter(Boolean).join(", ") || "nothing";
}

/** @param {{region: Row}} props */
function Room({ region }) {
  const [asked, setAsked] = useState(/** @type {{said?: Row, problem?: unknown} | null} */ (null));
  const ask = () => get(`regions/${part(region.name)}/room`, { hosts: ROOM_ASKED }).then((said) => setAsked({ said }), (problem) => setAsked({ problem }));
  const reason = whyNot("operate") || (region.connected ? "" : "its agent is away");
  return html`<${Section} title="Room">
    <p class="soft">${!asked?.said ? `Whether ${ROOM_ASKED} more hosts fit, as its provider says.` : asked.said.lack ? `No: ${asked.said.lack}` : `${asked.said.hosts} more hosts fit now, as far as ${region.provider} can tell.`}</p>
    <${Problem} problem=${asked?.problem} />
    <div class="actions"><${Button} reason=${reason} onClick=${ask}>Ask its provider<//></div>
  <//>`;
}
