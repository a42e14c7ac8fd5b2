// @ts-check
// One application: what it does now, where it runs, its groups, and its history with the ways back.

import { Back, RolloutActions, isRunning, reasonAgainst } from "../actions.js";
import { get, part } from "../api.js";
import { topic } from "../live.js";
import { Ago, Bar, Button, Chip, Empty, Loading, Page, Problem, Section, Short, Table, useKeys, useLoaded } from "../parts.js";
import { Regions, summaryOf } from "../regions_of.js";
import { html, useEffect, useState } from "../vendor/preact.js";
import { counted, duration, isWorker, number, sentence, waysIn } from "../words.js";

/** @typedef {Record<string, any>} App */
const SHOWN = 20;

/** @param {Record<string, string>} params */
export const topics = (params) => [`app:${params.app}`];

/** @param {import("../routes.js").ScreenProps} props */
export default function Application({ params }) {
  const name = params.app ?? "";
  const app = topic(`app:${name}`).value;
  const crumbs = /** @type {[string, string][]} */ ([["Fleet", "/"]]);
  if (!app) return html`<${Page} title=${name} crumbs=${crumbs}><${Loading} /><//>`;
  if (app.problem) return html`<${Page} title=${name} crumbs=${crumbs}>${app.problem.status === 404 ? html`<${Empty} title=${`There is no application ${name}`}>It was never released here, or it was deleted. The <a href="/">fleet</a> has those that there are.<//>` : html`<${Problem} problem=${app.problem} />`}<//>`;
  return html`<${Known} app=${app} crumbs=${crumbs} />`;
}

/** @param {{app: App, crumbs: [string, string][]}} props */
function Known({ app, crumbs }) {
  const [back, setBack] = useState(/** @type {{to: string, version: string} | null} */ (null));
  const rollout = app.current_rollout;
  const runs = isRunning(app);
  useKeys(runs ? {} : { r: () => { if (!reasonAgainst(app, "rollback")) setBack({ to: "", version: "" }); } });
  const actions = runs ? html`<${RolloutActions} app=${app} />` : html`<${Button} keys="r" reason=${reasonAgainst(app, "rollback")} onClick=${() => setBack({ to: "", version: "" })}>Roll back<//>`;
  const title = html`${app.name} <code class="title-version">${app.version || "nothing serves"}</code>`;
  return html`<${Page} title=${title} lead=${html`<span aria-live="polite">${sentence(app.text)}</span>`} crumbs=${crumbs} actions=${actions}>
    ${runs ? html`<${Running} app=${app} rollout=${rollout} />` : null}
    <${Section} title="Regions" note=${[summaryOf(app.columns), isWorker(app) ? "it takes no requests" : waysIn(app.fronts) && `clients come in at ${waysIn(app.fronts)}`].filter(Boolean).join("; ")}><${Regions} columns=${app.columns} target=${runs ? rollout.group : ""} /><//>
    ${app.columns.some((/** @type {App} */ each) => each.scaling) ? html`<${Section} title="Numbers of hosts" note="They follow the load, within the bounds of the spec."><${Scaled} columns=${app.columns} /><//>` : null}
    ${isWorker(app) ? null : html`<${Charts} app=${app.name} />`}
    <${Section} title="Server groups" note=${`Each release has hosts of its own; old ones are ${isWorker(app) ? "stopped once the new ones work" : "kept warm for the way back"}.`}><${Groups} app=${app} /><//>
    <${Section} title="History"><${History} app=${app} back=${setBack} /><//>
    ${back ? html`<${Back} app=${app} verb="rollback" to=${back.to} version=${back.version} close=${() => setBack(null)} />` : null}
  <//>`;
}

/** Drawn by a module of its own, loaded once it is wanted.
 * @param {{app: string}} props */
function Charts({ app }) {
  const [module, setModule] = useState(/** @type {any} */ (null));
  useEffect(() => { import("../charts.js").then((found) => setModule(() => found), () => {}); }, []);
  return module ? html`<${Section} title="Traffic"><${module.TrafficCharts} app=${app} /><//>` : null;
}

/** @param {{app: App, rollout: App}} props */
function Running({ app, rollout }) {
  const tracks = rollout.waves.flatMap((/** @type {App} */ wave) => wave.regions);
  const done = tracks.filter((/** @type {App} */ each) => each.phase === "done").length;
  const moving = tracks.filter((/** @type {App} */ each) => each.phase === "running" || each.phase === "undoing").length;
  return html`<a class="panel running" href=${`/apps/${part(app.name)}/rollouts/${rollout.number}`}>
    <span class="running-head"><${Chip} phase=${app.phase} /><strong>${rollout.kind} to <code>${rollout.version}</code></strong><span class="faint num">${done} of ${counted(tracks.length, "region")}</span></span>
    <${Bar} of=${tracks.length} height=${10} label="Regions" parts=${[{ value: done, tone: "live", text: `${done} done` }, { value: moving, tone: "dim", text: `${moving} moving` }]} />
    <span class="soft">${sentence((app.because.find((/** @type {App} */ each) => each.count) ?? app.because[0])?.text ?? "")} <span class="more">See the rollout</span></span>
  </a>`;
}

/** The regions whose number of hosts is chosen within bounds, and how it was chosen last.
 * @param {{columns: App[]}} props */
function Scaled({ columns }) {
  return html`<${Table} label="Numbers of hosts" name="scaled" rows=${columns.filter((each) => each.scaling)} id=${(/** @type {App} */ row) => row.name} columns=${[
    { key: "region", title: "Region", primary: true, cell: (/** @type {App} */ row) => html`<span class="name">${row.name}</span>` },
    { key: "hosts", title: "Hosts", align: "end", cell: (/** @type {App} */ row) => number(row.scaling.hosts) },
    { key: "bounds", title: "Within", cell: (/** @type {App} */ row) => html`<span class="pile"><span>${row.scaling.text}</span>${row.scaling.trouble ? html`<span class="soft small">${row.scaling.trouble}</span>` : null}</span>` },
    { key: "before", title: "Before", align: "end", wide: true, cell: (/** @type {App} */ row) => row.scaling.changed_at ? number(row.scaling.before) : "" },
    { key: "why", title: "Why", wide: true, cell: (/** @type {App} */ row) => row.scaling.reason },
    { key: "at", title: "Changed", align: "end", cell: (/** @type {App} */ row) => html`<${Ago} at=${row.scaling.changed_at} />` },
  ]} />`;
}

/** @param {{app: App}} props */
function Groups({ app }) {
  return html`<${Table} label="Server groups" name="groups" rows=${[...app.groups].reverse()} id=${(/** @type {App} */ row) => row.name} empty="It has no hosts." columns=${[
    { key: "version", title: "Version", primary: true, cell: (/** @type {App} */ row) => html`<code>${row.version}</code>` },
    { key: "state", title: "State", cell: (/** @type {App} */ row) => html`<${Chip} phase=${row.state} />` },
    { key: "hosts", title: "Healthy", align: "end", cell: (/** @type {App} */ row) => html`${number(row.verified)}<span class="faint"> / ${number(row.size)}</span>` },
    { key: "regions", title: "Regions", align: "end", cell: (/** @type {App} */ row) => row.regions.length },
    { key: "name", title: "Group", cell: (/** @type {App} */ row) => html`<span class="name">${row.name}</span>` },
    { key: "digest", title: "Package", spare: true, cell: (/** @type {App} */ row) => row.adopted ? html`<span class="faint">adopted</span>` : html`<${Short} text=${row.digest} />` },
    { key: "created", title: "Made", spare: true, align: "end", cell: (/** @type {App} */ row) => html`<${Ago} at=${row.created_at} />` },
    { key: "until", title: "Kept until", align: "end", wide: true, cell: (/** @type {App} */ row) => html`<${Ago} at=${row.warm_until ?? row.failed_until} />` },
  ]} />`;
}

/** @param {{app: App, back: (to: {to: string, version: string}) => void}} props */
function History({ app, back }) {
  const rollout = app.current_rollout;
  const { data, problem, again } = useLoaded(() => get(`applications/${part(app.name)}/history`, { limit: SHOWN, brief: true }), [app.name], [rollout?.number, rollout?.phase]);
  if (problem) return html`<${Problem} problem=${problem} again=${again} />`;
  if (!data) return html`<${Loading} />`;
  return html`<ol class="history">${data.items.map((/** @type {App} */ each) => html`<li key=${each.number}>
    <span class="num faint number">#${each.number}</span>
    <a class="what" href=${`/apps/${part(app.name)}/rollouts/${each.number}`}><code>${each.version}</code>${each.kind === "release" ? null : html` <span class="faint">${each.kind}</span>`}</a>
    <${Chip} phase=${each.phase} />
    <span class="said">${each.outcome || each.reason}</span>
    <span class="when faint"><${Ago} at=${each.started_at} />${each.started_by ? `, ${each.started_by}` : ""}${each.ended_at ? html`, took <span class="num">${duration((Date.parse(each.ended_at) - Date.parse(each.started_at)) / 1000)}</span>` : ""}</span>
    <${WayBack} app=${app} item=${each} items=${data.items} back=${back} />
  </li>`)}</ol>`;
}

/** @param {{app: App, item: App, items: App[], back: (to: {to: string, version: string}) => void}} props */
function WayBack({ app, item, items, back }) {
  const group = app.groups.find((/** @type {App} */ each) => each.name === item.group);
  if (group?.state === "serving" && item.version === app.version) return items.find((each) => each.group === item.group) === item ? html`<span class="way"><span class="faint">serves now</span></span>` : html`<span class="way"></span>`;
  if (item.phase !== "succeeded" || items.find((each) => each.group === item.group && each.phase === "succeeded") !== item) return html`<span class="way"></span>`;
  const is_warm = group && (group.state === "warm" || group.state === "serving");
  return html`<span class="way"><span class=${is_warm ? "warm" : "faint"}>${is_warm ? "warm, seconds" : "cold, minutes"}</span><${Button} reason=${reasonAgainst(app, "rollback")} label=${`Roll back to this, ${item.version}`} onClick=${() => back({ to: item.group, version: item.version })}>Roll back to this<//></span>`;
}
