// @ts-check
// One rollout as it happens: what it waits for, its steps, its waves and regions, its traffic.

import { RolloutActions, isRunning } from "../actions.js";
import { get, part } from "../api.js";
import { topic } from "../live.js";
import { Ago, Chip, Copy, Empty, Loading, Page, Problem, Section, useLoaded } from "../parts.js";
import { GroupLine } from "../regions_of.js";
import { html, useEffect, useState } from "../vendor/preact.js";
import { commandLine, counted, duration, isWorker, sentence } from "../words.js";

/** @typedef {Record<string, any>} App */
const WAITS_SHOWN = 4;
/** Below more regions the charts would be out of sight. */
const REGIONS_ABOVE = 8;
/** So long agents keep what balancers counted; so much of it is shown before a rollout and after it. */
const KEPT_MS = 86_400_000, AROUND_MS = 120_000;

/** @param {Record<string, string>} params */
export const topics = (params) => [`app:${params.app}`];

/** @param {import("../routes.js").ScreenProps} props */
export default function Rollout({ params }) {
  const name = params.app ?? "", number = Number(params.id);
  const app = topic(`app:${name}`).value;
  const crumbs = /** @type {[string, string][]} */ ([["Fleet", "/"], [name, `/apps/${part(name)}`]]);
  const is_current = app && !app.problem && app.current_rollout?.number === number;
  if (!app) return html`<${Page} title=${`Rollout ${number}`} crumbs=${crumbs}><${Loading} /><//>`;
  if (app.problem && app.problem.status !== 404) return html`<${Page} title=${`Rollout ${number}`} crumbs=${crumbs}><${Problem} problem=${app.problem} /><//>`;
  return is_current ? html`<${Shown} app=${app} name=${name} rollout=${app.current_rollout} crumbs=${crumbs} is_live=${isRunning(app)} />` : html`<${Past} app=${app.problem ? null : app} name=${name} number=${number} crumbs=${crumbs} />`;
}

/** One that has ended, or of which another one has taken the place.
 * @param {{app: App | null, name: string, number: number, crumbs: [string, string][]}} props */
function Past({ app, name, number, crumbs }) {
  const { data, problem, again } = useLoaded(() => get(`applications/${part(name)}/history`, { limit: 1, before: number + 1 }), [name, number]);
  if (problem) return html`<${Page} title=${`Rollout ${number}`} crumbs=${crumbs}><${Problem} problem=${problem} again=${again} /><//>`;
  if (!data) return html`<${Page} title=${`Rollout ${number}`} crumbs=${crumbs}><${Loading} /><//>`;
  const found = data.items.find((/** @type {App} */ each) => each.number === number);
  if (!found) return html`<${Page} title=${`Rollout ${number}`} crumbs=${crumbs}><${Empty} title="It is not kept any more, or never was">The history of <a href=${`/apps/${part(name)}`}>${name}</a> has those that are.<//><//>`;
  return html`<${Shown} app=${app} name=${name} rollout=${found} crumbs=${crumbs} is_live=${false} />`;
}

/** @param {{app: App | null, name: string, rollout: App, crumbs: [string, string][], is_live: boolean}} props */
function Shown({ app, name, rollout, crumbs, is_live }) {
  const title = html`<span class="versions">${rollout.origin ? html`<code class="faint">${versionOf(app, rollout.origin)}</code><span aria-label="to" class="faint">→</span>` : null}<code>${rollout.version}</code></span>`;
  const lead = html`<span class="rollout-lead"><${Chip} phase=${rollout.phase} /><span>${rollout.kind} ${rollout.number}</span><span>started <${Ago} at=${rollout.started_at} />${rollout.started_by ? ` by ${rollout.started_by}` : ""}</span>${rollout.ended_at ? html`<span>took <span class="num">${duration((Date.parse(rollout.ended_at) - Date.parse(rollout.started_at)) / 1000)}</span></span>` : null}${rollout.reason ? html`<q>${rollout.reason}</q>` : null}</span>`;
  const charts = app && !isWorker(app) && (is_live || isKept(rollout)) ? html`<${Charts} app=${app.name} rollout=${is_live ? null : rollout} />` : null;
  const charts_first = rollout.waves.flatMap((/** @type {App} */ wave) => wave.regions).length > REGIONS_ABOVE;
  return html`<${Page} title=${title} lead=${lead} crumbs=${crumbs} actions=${is_live && app ? html`<${RolloutActions} app=${app} />` : null}>
    ${is_live && app ? html`<${Now} app=${app} />` : rollout.outcome ? html`<p class="outcome">${rollout.outcome}</p>` : null}
    <div class="split">
      <div class="stack">
        ${rollout.analyses?.length ? html`<${Compared} app=${name} rollout=${rollout} />` : null}
        ${charts_first ? charts : null}
        ${rollout.waves.map((/** @type {App} */ wave, /** @type {number} */ index) => html`<${Wave} key=${index} wave=${wave} index=${index} count=${rollout.waves.length} rollout=${rollout} app=${is_live ? app : null} />`)}
        ${charts_first ? null : charts}
      </div>
      <aside class="stack" aria-label="Steps">
        <${Section} title="Steps" note=${rollout.steps.length ? `${Math.min(rollout.step + 1, rollout.steps.length)} of ${rollout.steps.length}` : ""}><${Steps} rollout=${rollout} /><//>
        ${rollout.jobs?.length ? html`<${Section} title="Jobs"><ul class="passes">${rollout.jobs.map((/** @type {App} */ each, /** @type {number} */ index) => html`<li key=${index}><strong>${each.name}</strong> ${each.moment.replace("_", " ")}: ${each.state}${each.attempt > 1 ? `, attempt ${each.attempt}` : ""}${each.region ? ` in ${each.region}` : ""} ${each.ended_at || each.began_at ? html`<${Ago} at=${each.ended_at || each.began_at} />` : null}${each.text ? html`<q>${each.text}</q>` : null}</li>`)}</ul><//>` : null}
        ${rollout.passes.length ? html`<${Section} title="Let go on"><ul class="passes">${rollout.passes.map((/** @type {App} */ each, /** @type {number} */ index) => html`<li key=${index}><strong>${each.gate}</strong> ${each.kind} by ${each.by || "an operator"} <${Ago} at=${each.at} />${each.reason ? html`<q>${each.reason}</q>` : null}</li>`)}</ul><//>` : null}
      </aside>
    </div>
  <//>`;
}

/** @param {App | null} app
 * @param {string} group */
function versionOf(app, group) { return app?.groups.find((/** @type {App} */ each) => each.name === group)?.version || group; }

/** What it waits for, in the words of `why`.
 * @param {{app: App}} props */
function Now({ app }) {
  const items = /** @type {App[]} */ ([...app.because].sort((one, other) => Number(!one.count) - Number(!other.count)));
  const shown = items.slice(0, WAITS_SHOWN);
  return html`<section class="now panel" aria-label="What happens now">
    <p class="now-text" aria-live="polite">${sentence(app.text)}</p>
    ${shown.length ? html`<ul>${shown.map((each) => html`<li key=${each.kind + each.text}>
      <p>${sentence(each.text)}${each.count > 1 ? html` <span class="faint">in ${counted(each.count, "region")}</span>` : null}${each.until ? html` <span class="until"><${Ago} at=${each.until} /></span>` : null}</p>
      ${each.then ? html`<p class="soft">${sentence(each.then)}</p>` : null}
      ${each.remedy?.command ? html`<${Copy} text=${commandLine(each.remedy)} />` : null}
    </li>`)}</ul>` : null}
    ${items.length > shown.length ? html`<p class="faint">and ${counted(items.length - shown.length, "other wait")}</p>` : null}
  </section>`;
}

/** @param {{rollout: App}} props */
function Steps({ rollout }) {
  return html`<ol class="steps">${rollout.steps.map((/** @type {App} */ step, /** @type {number} */ index) => {
    const [head, ...rest] = step.text.split(": ");
    return html`<li key=${index} class=${`step is-${step.state}`} aria-current=${step.state === "running" ? "step" : undefined}><span class="step-sign" aria-hidden="true">${step.state === "done" ? "✓" : step.state === "running" ? "▸" : ""}</span><span><strong>${head}</strong> ${rest.join(": ")}<span class="sr"> (${step.state})</span></span></li>`;
  })}</ol>`;
}

/** @param {{wave: App, index: number, count: number, rollout: App, app: App | null}} props */
function Wave({ wave, index, count, rollout, app }) {
  const regions = /** @type {App[]} */ (wave.regions);
  const done = regions.filter((each) => each.phase === "done").length;
  const rules = [wave.parallel ? `${wave.parallel} at once` : "", wave.lockstep && regions.length > 1 ? "in lockstep" : "", wave.bake_seconds ? `then watched for ${duration(wave.bake_seconds)}` : "", wave.approve !== null ? `approved by ${wave.approve || "a person"} first` : ""].filter(Boolean);
  return html`<${Section} class="wave" title=${count > 1 ? `Wave ${index + 1}` : "Regions"} note=${`${done} of ${counted(regions.length, "region")}${rules.length ? `; ${rules.join(", ")}` : ""}`}>
    <ul class="tracks">${regions.map((each) => html`<${TrackRow} key=${each.region} track=${each} rollout=${rollout} column=${app?.columns.find((/** @type {App} */ one) => one.name === each.region)} />`)}</ul>
  <//>`;
}

/** @param {{track: App, rollout: App, column: App | undefined}} props */
function TrackRow({ track, rollout, column }) {
  const total = rollout.steps.length;
  const at = track.phase === "done" ? total : track.phase === "waiting" ? 0 : track.step;
  const groups = (column?.groups ?? []).filter((/** @type {App} */ each) => each.name === track.group || each.name === track.origin);
  const is_open = track.phase === "running" || track.phase === "undoing";
  const said = track.phase === "running" ? track.kind : "";
  return html`<li class=${`track is-${track.phase}`}>
    <div class="track-head">
      <a class="track-name" href=${`/regions/${part(track.region)}`}>${track.region}</a>
      <span class="lane" role="img" aria-label=${`${track.region}: ${track.phase}, step ${Math.min(at + 1, total)} of ${total}`}>${Array.from({ length: total }, (_, index) => html`<span key=${index} class=${index < at ? "past" : index === at && is_open ? "here" : ""}></span>`)}</span>
      <${Chip} phase=${track.phase} text=${said || undefined} />
      <span class="faint track-since">${track.since && is_open ? html`<${Ago} at=${track.since} bare=${true} />` : null}</span>
    </div>
    ${is_open && groups.length ? html`<div class="region-groups">${groups.map((/** @type {App} */ group) => html`<${GroupLine} key=${group.name} group=${group} target=${track.group} place=${track.region} />`)}</div>` : null}
    ${track.reason ? html`<p class="trouble">${track.reason}</p>` : null}
  </li>`;
}

/** The same way: few rollouts have an analysis.
 * @param {{app: string, rollout: App}} props */
function Compared({ app, rollout }) {
  const [module, setModule] = useState(/** @type {any} */ (null));
  useEffect(() => { import("../analyses.js").then((found) => setModule(() => found), () => {}); }, []);
  return module ? html`<${module.Analyses} app=${app} rollout=${rollout} />` : null;
}

/** @param {App} rollout */
function isKept(rollout) { return Boolean(rollout.ended_at) && Date.now() - Date.parse(rollout.started_at) < KEPT_MS; }

/** Drawn by a module of its own, loaded once it is wanted.
 * @param {{app: string, rollout: App | null}} props `rollout`: one that has ended */
function Charts({ app, rollout }) {
  const [module, setModule] = useState(/** @type {any} */ (null));
  useEffect(() => { import("../charts.js").then((found) => setModule(() => found), () => {}); }, []);
  if (!module) return null;
  if (!rollout) return html`<${Section} title="Traffic"><${module.TrafficCharts} app=${app} /><//>`;
  return html`<${Section} title="Traffic" note="as it was"><${module.PastCharts} app=${app} since=${Date.parse(rollout.started_at) - AROUND_MS} until=${Date.parse(rollout.ended_at) + AROUND_MS} /><//>`;
}
