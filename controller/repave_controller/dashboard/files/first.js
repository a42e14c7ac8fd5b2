// @ts-check
// The way to the first release: what to do, in lines to copy, ticked off as it happens.

import { get } from "./api.js";
import { Copy, useLoaded } from "./parts.js";
import { html, useEffect } from "./vendor/preact.js";
import { counted } from "./words.js";

/** @typedef {Record<string, any>} Row */

const LOOK_MS = 2000;

/** @param {{fleet: Row}} props */
export function First({ fleet }) {
  const { data, again } = useLoaded(() => Promise.all([get("regions"), get("plans")]), []);
  const app = /** @type {Row | undefined} */ (fleet.items[0]);
  const is_over = app?.phase === "succeeded";
  useEffect(() => {
    if (is_over) return undefined;
    const looking = setInterval(() => { if (!document.hidden) again(); }, LOOK_MS);
    return () => clearInterval(looking);
  }, [is_over]);
  const regions = /** @type {Row[]} */ (data?.[0].items ?? []).filter((each) => each.connected);
  const plans = /** @type {Row[]} */ (data?.[1].items ?? []);
  const done = [regions.length > 0, plans.length > 0 || !!app, is_over, false];
  const now = done.indexOf(false);
  const step = (/** @type {number} */ index, /** @type {string} */ title, /** @type {any} */ body) => html`<li class=${done[index] ? "is-done" : index === now ? "is-now" : ""} aria-current=${index === now ? "step" : undefined}><span class="first-sign" aria-hidden="true">${done[index] ? "✓" : index + 1}</span><div class="first-body"><h2>${title}${done[index] ? html`<span class="sr">, done</span>` : null}</h2>${body}</div></li>`;
  return html`<ol class="first" aria-live="polite">
    ${step(0, "A region to release to", done[0]
      ? html`<p>${regions.map((each) => each.name).join(", ")} ${regions.length === 1 ? "is" : "are"} connected.</p>`
      : html`<p>An agent acts in each region. On this machine, <code>repave dev</code> starts a controller with two; on others, <a href="/access">make the line</a> with which a machine joins.</p><${Copy} text="repave dev" />`)}
    ${step(1, "A spec, and what it would do", done[1]
      ? html`<p>${app ? `${app.name} has one.` : html`Plan <a href=${`/plan?id=${plans[0]?.id}`}>${plans[0]?.id}</a> of ${plans[0]?.application} was shown.`}</p>`
      : html`<p>In the folder of your application; without one, take the example: <code>cp -r deploy/examples/hello /tmp/hello</code>. The first line writes <code>repave.yaml</code>, the second shows the plan and changes nothing. Without a terminal, <a href="/plan">the plan page</a> takes a spec and a package.</p><${Copy} text="repave init" /><${Copy} text="repave plan" />`)}
    ${step(2, "The first release", app
      ? html`<p>${is_over ? html`<a href=${`/apps/${app.name}`}>${app.name}</a> serves version ${app.version} on ${counted(app.hosts, "host")}.` : html`<a href=${`/apps/${app.name}/rollouts/${app.number}`}>${app.name} ${app.target}</a> is on its way${app.step ? `, in step ${app.step}` : ""}.`}</p>`
      : html`<p>It launches new hosts, proves that they are healthy, and gives them the traffic. Follow it here.</p><${Copy} text="repave release --version 1.0" />`)}
    ${step(3, "The next one, and back", html`<p>Change something, release it, and the old hosts stay warm: <em>Roll back</em> on the application's page is one switch.</p>${is_over ? html`<${Copy} text="repave release --version 2.0" />` : null}`)}
  </ol>`;
}
