// @ts-check
// One host: its life, whether it is as it was made, what it printed last; and its replacement asked for.

import { get, part, post } from "../api.js";
import { topic } from "../live.js";
import { whyNot } from "../may.js";
import { Ago, Button, Chip, Confirm, Loading, Page, Problem, Section, Short, useLoaded } from "../parts.js";
import { html, useEffect, useState } from "../vendor/preact.js";
import { duration, placeOf } from "../words.js";
import { HostPhase } from "./region.js";

/** @typedef {Record<string, any>} Row */
const LOG_LINES = 200;
const EVENTS = 1000;
const PROBES = 10, PROBES_MS = 5000;

/** @param {Record<string, string>} params */
export const topics = (params) => [`region:${params.region}`];

/** @param {import("../routes.js").ScreenProps} props */
export default function Screen({ params }) {
  const region = params.region ?? "", name = params.host ?? "";
  const crumbs = [["Regions", "/regions"], [region, `/regions/${part(region)}`]];
  return html`<${Page} title=${name} crumbs=${crumbs}><${Host} region=${region} name=${name} /><//>`;
}

/** @param {{region: string, name: string}} props */
export function Host({ region, name }) {
  const there = topic(`region:${region}`).value?.items;
  const { data, problem, again } = useLoaded(() => load(region, name), [region, name], [there]);
  const [is_tainting, setTainting] = useState(false);
  if (!data) return problem ? html`<${Problem} problem=${problem} again=${again} />` : html`<${Loading} />`;
  const { host, events, silent } = data;
  if (!host) {
    return html`<${Section}>${silent ? html`<${Problem} problem=${{ detail: silent }} again=${again} />` : html`<p class="nothing">${region} has no host of this name. Hosts that failed are remembered for a day; others leave nothing.</p>`}<${Life} events=${events} /><//>`;
  }
  const reason = whyNot("steer", host.application) || (host.gone_at ? "it is gone" : "");
  return html`<div class="split">
    <div class="page">
      ${host.trouble ? html`<${Problem} problem=${{ detail: host.trouble }} />` : null}
      <${Probes} host=${host} />
      <${Life} events=${events} />
      <${Section} title="Log" note=${`the last ${LOG_LINES} lines`} actions=${html`<${Button} onClick=${again}>Read again<//>`}>
        ${host.log_tail ? html`<pre class="log" tabindex="0" aria-label="What it printed last">${host.log_tail}</pre>` : html`<p class="nothing">It has printed nothing.</p>`}
      <//>
    </div>
    <${Section} title="Host">
      <dl class="facts">
        <dt>Phase</dt><dd><${HostPhase} host=${host} /></dd>
        <dt>Application</dt><dd><a href=${`/apps/${part(host.application)}`}>${host.application}</a></dd>
        <dt>Group</dt><dd>${host.group}</dd>
        <dt>Address</dt><dd><code>${placeOf(host)}</code></dd>
        ${host.public_address ? html`<dt>From outside</dt><dd><code>${host.public_address}</code></dd>` : null}
        <dt>Age</dt><dd class="num">${duration(host.age_seconds)}</dd>
        <dt>Healthy for</dt><dd class="num">${host.healthy_seconds ? duration(host.healthy_seconds) : "–"}</dd>
        <dt>Made of</dt><dd>${host.adopted ? "adopted: it was there before repave" : html`<${Short} text=${host.digest} />`}</dd>
        <dt>Drift</dt><dd>${host.worn ? html`<${Chip} phase="warn" text="to be replaced" /> ${host.worn}` : "as it was made"}</dd>
      </dl>
      <div class="actions"><${Button} kind="danger" reason=${reason} onClick=${() => setTainting(true)}>Taint<//></div>
    <//>
    ${is_tainting ? html`<${Confirm} title=${`Replace ${host.name}?`} verb="Taint" kind="danger" asks=${true} close=${() => setTainting(false)} act=${async (/** @type {string} */ why) => { await post(`hosts/${part(host.name)}/taint`, { region, reason: why }); again(); }}>
      <p>It serves until a fresh host of the same release has its place, and is then drained and destroyed.</p>
    <//>` : null}
  </div>`;
}

/** Its last ones, asked of its region's agent again and again while they are seen.
 * @param {{host: Row}} props */
function Probes({ host }) {
  const { data, problem, again } = useLoaded(() => get(`applications/${part(host.application)}/hosts`, { region: host.region, host: host.name, probes: PROBES }), [host.region, host.name]);
  useEffect(() => {
    const asking = setInterval(() => { if (!document.hidden) again(); }, PROBES_MS);
    return () => clearInterval(asking);
  }, []);
  const probes = /** @type {Row[]} */ (data?.items[0]?.probes ?? []);
  const slowest = Math.max(...probes.map((each) => each.took_seconds), 0.001);
  const passed = probes.filter((each) => each.passed).length;
  return html`<${Section} title="Probes" note=${probes.length ? `${passed} of the last ${probes.length} passed` : ""}>
    ${problem ? html`<${Problem} problem=${problem} />` : null}
    ${probes.length ? html`<ol class="probes">${probes.map((each, index) => html`<li key=${index} class=${each.passed ? "" : "is-failed"}>
      <span class="num faint">${each.ago_seconds < 1 ? "just now" : `${duration(each.ago_seconds)} ago`}</span>
      <span class="probe-time" aria-hidden="true"><span class=${`fill tone-${each.passed ? "soft" : "bad"}`} style=${{ width: `${Math.max(2, (100 * each.took_seconds) / slowest)}%` }}></span></span>
      <span class="num end">${took(each.took_seconds)}</span>
      <span class="said">${each.passed ? "" : html`<strong>failed</strong> `}${each.said}</span>
    </li>`)}</ol>` : data ? html`<p class="nothing">${host.gone_at ? "It is gone." : "None is known: its balancer alone asks it now, or its agent is of an earlier version."}</p>` : html`<${Loading} />`}
  <//>`;
}

/** @param {number} seconds */
function took(seconds) { return seconds < 1 ? `${Number((seconds * 1000).toPrecision(2))} ms` : `${Number(seconds.toPrecision(2))} s`; }

/** @param {{events: Row[]}} props */
function Life({ events }) {
  return html`<${Section} title="Life">
    ${events.length ? html`<ol class="life">${events.map((event) => html`<li key=${event.sequence}><${Ago} at=${event.at} /><span>${event.text}</span></li>`)}</ol>` : html`<p class="nothing">No event names it: what went well is told of its group.</p>`}
  <//>`;
}

/** @param {string} region
 * @param {string} name
 * @returns {Promise<{host: Row | null, events: Row[], silent: string}>} */
async function load(region, name) {
  const said = await get("hosts", { region, host: name, log_lines: LOG_LINES, gone: true });
  const host = /** @type {Row | null} */ (said.items[0] ?? null);
  const events = await get("events", { application: host?.application, newest: true, limit: EVENTS });
  const own = /** @type {Row[]} */ (events.items).filter((event) => event.region === region && (event.host === name || (host && !event.host && event.group === host.group)));
  return { host, events: own, silent: said.unreachable[region] ?? "" };
}
