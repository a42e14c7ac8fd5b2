// @ts-check
// Releases that wait behind a rollout: their order, dropped, let go on.

import { part, post } from "../api.js";
import { topic } from "../live.js";
import { whyNot } from "../may.js";
import { Ago, Button, Confirm, Empty, Loading, Page, Problem, Section, Short } from "../parts.js";
import { html, useState } from "../vendor/preact.js";
import { counted } from "../words.js";

export const topics = () => ["queue"];

/** @typedef {Record<string, any>} Row */

export default function Queue() {
  const said = topic("queue").value;
  if (!said) return html`<${Page} title="Queue"><${Loading} /><//>`;
  const queues = /** @type {Row[]} */ (said.items);
  const total = queues.reduce((sum, each) => sum + each.items.length, 0);
  return html`<${Page} title="Queue" lead=${total ? `${counted(total, "release")} of ${counted(queues.length, "application")} ${total === 1 ? "waits" : "wait"} behind a rollout. The first begins when it has succeeded.` : ""}>
    ${queues.length ? queues.map((each) => html`<${One} key=${each.application} queue=${each} />`) : html`<${Empty} title="No release waits" lines=${["repave release --queue"]}>
      An application has one rollout at a time. A release that is asked for meanwhile is refused, unless it is queued: then it begins by itself when the one before has succeeded.
    <//>`}
  <//>`;
}

/** @param {{queue: Row}} props */
function One({ queue }) {
  const app = /** @type {string} */ (queue.application);
  const [asked, setAsked] = useState(/** @type {{verb: string, item?: Row} | null} */ (null));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const reason = whyNot("steer", app);
  const path = `applications/${part(app)}/queue`;
  const items = /** @type {Row[]} */ (queue.items);
  const move = (/** @type {Row} */ item, /** @type {number} */ place) => post(`${path}/move`, { name: String(item.number), place }).then(() => setProblem(null), setProblem);
  const actions = html`${queue.stands ? html`<${Button} kind="primary" reason=${reason} onClick=${() => setAsked({ verb: "resume" })}>Let it go on<//>` : null}${items.length > 1 ? html`<${Button} kind="quiet" reason=${reason} onClick=${() => setAsked({ verb: "all" })}>Drop all<//>` : null}`;
  return html`<${Section} title=${html`<a href=${`/apps/${part(app)}`}>${app}</a>`} note=${queue.running ? html`behind <a href=${`/apps/${part(app)}/rollouts/${queue.number}`}>${queue.running}</a>` : null} actions=${actions}>
    ${queue.stands ? html`<p class="note tone-warn" role="status"><span aria-hidden="true">‖ </span>Stands still: ${queue.stands}</p>` : null}
    <${Problem} problem=${problem} />
    <ol class="queue">${items.map((item, index) => html`<li key=${item.number} class="queued">
      <span class="place-number num" aria-label=${`Place ${index + 1}`}>${index + 1}</span>
      <span class="queued-what"><strong>${item.version}</strong> <${Short} text=${item.digest} /><span class="faint">${counted(item.regions.length, "region")}${item.replaces ? ", replaces what goes back" : ""}</span>${item.reason ? html`<span class="soft">${item.reason}</span>` : null}</span>
      <span class="faint queued-who">${item.by || "–"}, <${Ago} at=${item.queued_at} /></span>
      <span class="actions">
        <${Button} kind="quiet" label=${`Move ${item.version} up`} reason=${reason || blocked(items, item, index - 1) || (index === 0 ? "it is the first" : "")} onClick=${() => move(item, index)}>↑<//>
        <${Button} kind="quiet" label=${`Move ${item.version} down`} reason=${reason || blocked(items, item, index + 1) || (index === items.length - 1 ? "it is the last" : "")} onClick=${() => move(item, index + 2)}>↓<//>
        <${Button} kind="quiet" label=${`Drop ${item.version}`} reason=${reason} onClick=${() => setAsked({ verb: "drop", item })}>Drop<//>
      </span>
    </li>`)}</ol>
    ${asked?.verb === "drop" ? html`<${Confirm} title=${`Drop the release of ${asked.item?.version}?`} verb="Drop it" kind="danger" asks=${true} close=${() => setAsked(null)} act=${(/** @type {string} */ why) => post(`${path}/drop`, { name: String(asked.item?.number), reason: why })}><p>It is taken out of the queue of ${app}, and the next one moves up. Nothing that runs changes.</p><//>` : null}
    ${asked?.verb === "all" ? html`<${Confirm} title=${`Drop all that waits for ${app}?`} verb=${`Drop ${counted(items.length, "release")}`} kind="danger" asks=${true} close=${() => setAsked(null)} act=${(/** @type {string} */ why) => post(`${path}/drop`, { all: true, reason: why })}><p>${items.map((each) => each.version).join(", ")} will not be released. Nothing that runs changes.</p><//>` : null}
    ${asked?.verb === "resume" ? html`<${Confirm} title=${`Let the queue of ${app} go on?`} verb="Let it go on" asks=${true} close=${() => setAsked(null)} act=${(/** @type {string} */ why) => post(`${path}/resume`, { reason: why })}><p>It stands still: ${queue.stands}. ${items[0]?.version} begins next.</p><//>` : null}
  <//>`;
}

/** Why the two can't change places: what replaces a rollout is the first.
 * @param {Row[]} items
 * @param {Row} item
 * @param {number} other */
function blocked(items, item, other) {
  return items[0]?.replaces && (item === items[0] || other === 0) ? "the first one replaces the rollout that goes back" : "";
}
