// @ts-check
// When releases may move: freezes and windows as a calendar, freezing and thawing, what holds releases back now.

import { get, part, post } from "../api.js";
import { topic } from "../live.js";
import { whyNot } from "../may.js";
import { Ago, Button, Chip, Confirm, Empty, Loading, Page, Problem, Section, Table, useLoaded, useNow } from "../parts.js";
import { html, useState } from "../vendor/preact.js";

export const topics = () => ["fleet"];

/** @typedef {Record<string, any>} Row */
/** @typedef {{begins_at: string, ends_at: string, text?: string}} Span */
const DAY_MS = 86_400_000;
const DAYS = 14;
const LATELY = 20;
const MOST = 500;

/** @param {import("../routes.js").ScreenProps} props */
export default function Safety(props) {
  const change = [topic("shell").value, topic("fleet").value];
  const freezes = useLoaded(() => get("freezes"), [], change);
  const calendar = useLoaded(() => get("calendar", { days: DAYS }), [], change);
  const events = useLoaded(() => get("events", { newest: true, limit: MOST }), [], change);
  if (!freezes.data || !calendar.data) return html`<${Page} title="Safety">${freezes.problem || calendar.problem ? html`<${Problem} problem=${freezes.problem ?? calendar.problem} again=${freezes.again} />` : html`<${Loading} />`}<//>`;
  const everything = freezes.data.everything, items = /** @type {Row[]} */ (freezes.data.items), times = /** @type {Row[]} */ (calendar.data.items);
  const again = () => { freezes.again(); calendar.again(); };
  return html`<${Page} title="Safety" lead=${everything ? html`Everything is frozen by ${everything.by || "an operator"}, <${Ago} at=${everything.at} />${everything.reason ? `: ${everything.reason}` : ""}` : items.some((each) => each.is_on) ? "A freeze is on." : "Releases may move, within the windows of their specs."} actions=${html`<${Switch} everything=${everything} again=${again} /><${Add} again=${again} />`}>
    <${Section} title="Calendar" note=${`${DAYS} days`}><${Calendar} begin=${calendar.data.begins_at} freezes=${items} times=${times} everything=${everything} /><//>
    <${Section} title="Freezes"><${List} items=${items} again=${again} /><//>
    <${Section} title="Held back now"><${Held} times=${times} /><//>
    <${Section} title="Lately"><${Lately} events=${/** @type {Row[] | undefined} */ (events.data?.items)} /><//>
  <//>`;
}

/** A row for all, then one for each application with times of its own.
 * @param {{begin: string, freezes: Row[], times: Row[], everything: Row | null}} props */
function Calendar({ begin, freezes, times, everything }) {
  const now = useNow();
  const start = Date.parse(begin);
  const days = Array.from({ length: DAYS }, (_, day) => new Date(start + day * DAY_MS));
  const rows = [
    { name: "Every application", href: "", open: /** @type {Span[] | null} */ (null), frozen: freezes.filter((each) => !each.applications.length).map(told), text: "" },
    ...freezes.filter((each) => each.applications.length).map((each) => ({ name: each.applications.join(", "), href: "", open: /** @type {Span[] | null} */ (null), frozen: [told(each)], text: `freeze ${each.id}` })),
    ...times.map((each) => ({
      name: each.application,
      href: `/apps/${part(each.application)}`,
      open: each.windows.length ? /** @type {Span[]} */ (each.open) : null,
      frozen: [...each.freezes.map(told), ...freezes.filter((freeze) => freeze.applications.some((/** @type {string} */ glob) => globs(glob, each.application))).map(told)],
      text: each.windows.join("; "),
    })),
  ];
  return html`<div class="calendar" role="table" aria-label="When releases may move">
    <div class="calendar-row calendar-head" role="row"><span role="columnheader">Application</span><span class="days" role="columnheader" aria-label=${`${DAYS} days from ${days[0]?.toDateString()}`}>${days.map((day) => html`<span key=${+day} class=${[0, 6].includes(day.getUTCDay()) ? "weekend" : ""}><b>${day.toLocaleDateString("en", { weekday: "narrow", timeZone: "UTC" })}</b> ${day.getUTCDate()}</span>`)}</span></div>
    ${rows.map((row) => html`<div key=${`${row.name} ${row.text}`} class="calendar-row" role="row">
      <span class="calendar-name" role="rowheader">${row.href ? html`<a href=${row.href}>${row.name}</a>` : row.name}${row.text ? html`<span class="faint small">${row.text}</span>` : null}</span>
      <span class="times" role="cell">
        <span class="sr">${said(row, Boolean(everything))}</span>
        ${everything ? html`<span class="span span-frozen" style=${place({ begins_at: begin, ends_at: days[DAYS - 1]?.toISOString() ?? begin }, start, DAY_MS)}></span>` : null}
        ${row.open === null ? html`<span class="span span-always"></span>` : row.open.map((each) => html`<span key=${each.begins_at} class="span span-open" title=${between(each)} style=${place(each, start)}></span>`)}
        ${row.frozen.map((each) => html`<span key=${each.begins_at + each.text} class="span span-frozen" title=${`${each.text ?? ""} ${between(each)}`} style=${place(each, start)}></span>`)}
        <span class="span-now" style=${{ left: `${(100 * (now - start)) / (DAYS * DAY_MS)}%` }}></span>
      </span>
    </div>`)}
    <p class="calendar-key faint small"><span class="key span-open"></span>window open <span class="key span-always"></span>always <span class="key span-frozen"></span>frozen <span class="key key-now"></span>now. Days are by UTC; hover for your own time.</p>
  </div>`;
}

/** @param {Row} freeze
 * @returns {Span} */
function told(freeze) { return { begins_at: freeze.begins_at, ends_at: freeze.ends_at, text: freeze.reason || freeze.id || "frozen" }; }

/** Within the days shown.
 * @param {Span} span
 * @param {number} start
 * @param {number} [longer] */
function place(span, start, longer = 0) {
  const whole = DAYS * DAY_MS;
  const from = Math.min(whole, Math.max(0, Date.parse(span.begins_at) - start)), to = Math.min(whole, Math.max(0, Date.parse(span.ends_at) + longer - start));
  return { left: `${(100 * from) / whole}%`, width: `${Math.max(0.15, (100 * (to - from)) / whole)}%` };
}

/** @param {Span} span */
function between(span) { return `${new Date(span.begins_at).toLocaleString()} to ${new Date(span.ends_at).toLocaleString()}`; }

/** @param {{open: Span[] | null, frozen: Span[]}} row
 * @param {boolean} is_frozen */
function said(row, is_frozen) {
  if (is_frozen) return "frozen";
  const open = row.open === null ? "always" : row.open.length ? `open ${row.open.map(between).join(", ")}` : "never in these days";
  return row.frozen.length ? `${open}; frozen ${row.frozen.map((each) => `${between(each)}: ${each.text}`).join(", ")}` : open;
}

/** @param {string} glob
 * @param {string} name */
function globs(glob, name) {
  const pattern = glob.replace(/[.+^${}()|\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".").replaceAll("[!", "[^");
  try { return new RegExp(`^${pattern}$`).test(name); } catch { return false; }
}

// ------------------------------------------------------------------------------------------ freezes

/** @param {{everything: Row | null, again: () => void}} props */
function Switch({ everything, again }) {
  const [is_open, setOpen] = useState(false);
  const verb = everything ? "Unfreeze everything" : "Freeze everything";
  return html`<${Button} kind=${everything ? "primary" : "danger"} reason=${whyNot("freeze")} onClick=${() => setOpen(true)}>${verb}<//>
    ${is_open ? html`<${Confirm} title=${everything ? "Let everything go on?" : "Freeze everything?"} verb=${verb} kind=${everything ? "primary" : "danger"} asks=${true} needs=${!everything} close=${() => setOpen(false)} act=${async (/** @type {string} */ why) => { await post(everything ? "freezes/all/lift" : "freezes/all", { reason: why }); again(); }}>
      <p>${everything ? "Rollouts go on where they stand, and queued releases begin." : "Nothing is released and running rollouts stand still, until someone lifts it. Hosts that serve are still replaced when they fail, and rollbacks still work."}</p>
    <//>` : null}`;
}

/** @param {{again: () => void}} props */
function Add({ again }) {
  const [is_open, setOpen] = useState(false);
  const soon = new Date(Date.now() + DAY_MS);
  const [from, setFrom] = useState(local(new Date())), [to, setTo] = useState(local(soon)), [globs, setGlobs] = useState("");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const act = async (/** @type {string} */ reason) => {
    await post("freezes", { from, to, zone, reason, applications: globs.split(/[\s,]+/).filter(Boolean) });
    again();
  };
  return html`<${Button} reason=${whyNot("freeze")} onClick=${() => setOpen(true)}>Add a freeze<//>
    ${is_open ? html`<${Confirm} title="Add a freeze" verb="Add" asks=${true} needs=${true} reason=${from < to ? "" : "it must end after it begins"} close=${() => setOpen(false)} act=${act}>
      <p class="soft">In this time nothing is released. Rollbacks still work. Times are in ${zone}.</p>
      <label class="field"><span>From</span><input type="datetime-local" value=${from} onInput=${(/** @type {any} */ event) => setFrom(event.target.value)} required /></label>
      <label class="field"><span>To</span><input type="datetime-local" value=${to} onInput=${(/** @type {any} */ event) => setTo(event.target.value)} required /></label>
      <label class="field"><span>Only applications whose names match (empty: all)</span><input value=${globs} placeholder="web-*, checkout" onInput=${(/** @type {any} */ event) => setGlobs(event.target.value)} /></label>
    <//>` : null}`;
}

/** @param {Date} date */
function local(date) { return new Date(+date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16); }

/** @param {{items: Row[], again: () => void}} props */
function List({ items, again }) {
  const [lifted, setLifted] = useState(/** @type {Row | null} */ (null));
  if (!items.length) return html`<${Empty} title="No freeze is planned" lines=${["repave freeze --from \"2026-12-23 18:00\" --to \"2027-01-02 08:00\" --reason holidays"]}>A freeze is a time in which no release moves. Rollbacks still work.<//>`;
  return html`<${Table} label="Freezes" rows=${items} id=${(/** @type {Row} */ row) => row.id} initial="from" columns=${[
      { key: "id", title: "Freeze", primary: true, sort: (/** @type {Row} */ row) => row.id, cell: (/** @type {Row} */ row) => html`${row.id} ${row.is_on ? html`<${Chip} phase="waiting" tone="warn" text="on" />` : null}` },
      { key: "from", title: "Begins", sort: (/** @type {Row} */ row) => row.begins_at, cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.begins_at} />` },
      { key: "to", title: "Ends", sort: (/** @type {Row} */ row) => row.ends_at, cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.ends_at} />` },
      { key: "apps", title: "Applications", cell: (/** @type {Row} */ row) => row.applications.join(", ") || "all" },
      { key: "reason", title: "Why", wide: true, cell: (/** @type {Row} */ row) => row.reason || "–" },
      { key: "by", title: "By", sort: (/** @type {Row} */ row) => row.by, cell: (/** @type {Row} */ row) => row.by || "–" },
      { key: "lift", title: "Lift", cell: (/** @type {Row} */ row) => html`<${Button} kind="quiet" label=${`Lift ${row.id}`} reason=${whyNot("freeze")} onClick=${() => setLifted(row)}>Lift<//>` },
    ]} />
    ${lifted ? html`<${Confirm} title=${`Lift the freeze ${lifted.id}?`} verb="Lift" asks=${true} close=${() => setLifted(null)} act=${async (/** @type {string} */ why) => { await post(`freezes/${part(lifted.id)}/lift`, { reason: why }); again(); }}><p>What it holds back goes on at once.</p><//>` : null}`;
}

/** @param {{times: Row[]}} props */
function Held({ times }) {
  const held = times.filter((each) => each.guards.length || each.held);
  if (!held.length) return html`<p class="nothing">No guard holds a release back.</p>`;
  return html`<ul class="held">${held.map((each) => html`<li key=${each.application}><a href=${`/apps/${part(each.application)}`}>${each.application}</a>
    ${each.guards.length ? each.guards.map((/** @type {Row} */ guard) => html`<p key=${guard.text}><${Chip} phase="waiting" tone="warn" text=${guard.kind} /> ${guard.region ? html`${guard.region}: ` : null}${guard.text}</p>`) : html`<p class="soft">${each.held}</p>`}
  </li>`)}</ul>`;
}

/** Freezes that were added and lifted, guards that people went past.
 * @param {{events: Row[] | undefined}} props */
function Lately({ events }) {
  const found = (events ?? []).filter((each) => /^freeze|overrid|guard|window|limit/.test(each.kind)).reverse().slice(0, LATELY);
  if (!found.length) return html`<p class="nothing">No freeze was added or lifted, and no guard was overridden, of late.</p>`;
  return html`<ol class="life">${found.map((event) => html`<li key=${event.sequence}><${Ago} at=${event.at} /><span>${event.application ? html`<a href=${`/apps/${part(event.application)}`}>${event.application}</a> ` : null}${event.text}${event.by ? html` <span class="faint">by ${event.by}</span>` : null}</span></li>`)}</ol>`;
}
