// @ts-check
// What has happened, as it happens, and who asked for what: filtered by the address, exported as it is shown.

import { get, part } from "../api.js";
import { generation, topic } from "../live.js";
import { who, whyNot } from "../may.js";
import { Ago, Button, Empty, Loading, Page, Problem, Search, Tabs, useLoaded } from "../parts.js";
import { query, setQuery } from "../router.js";
import { html, useRef } from "../vendor/preact.js";
import { counted } from "../words.js";

export const topics = () => ["fleet", "regions"];

/** @typedef {Record<string, any>} Row */
const KEPT = 1000;
const KINDS = /** @type {const} */ ([["", "All"], ["release", "Releases"], ["traffic", "Traffic"], ["host", "Hosts"], ["freeze", "Freezes"]]);

/** @param {import("../routes.js").ScreenProps} props */
export default function Events({ query: words }) {
  const is_audit = words.view === "audit";
  return html`<${Page} title="Events" lead=${is_audit ? "Each request that changed something or was refused, who made it, and when." : "What was decided and what happened, newest first."}>
    <${Tabs} name="view" label="View" options=${[["", "Events"], ["audit", "Audit"]]} />
    ${is_audit ? html`<${Audit} words=${words} />` : html`<${Log} words=${words} />`}
  <//>`;
}

/** @param {{words: Record<string, string>}} props */
function Log({ words }) {
  const { rows, problem } = useEvents(words.app ?? "");
  if (!rows) return problem ? html`<${Problem} problem=${problem} />` : html`<${Loading} />`;
  if (!rows.length && !words.app) return html`<${Empty} title="Nothing has happened yet" lines=${["repave events --follow"]}>Each decision, each move of traffic and each host that fails is told here, the moment it is saved.<//>`;
  const found = rows.filter((row) => matches(row, words));
  return html`<div class="toolbar">
      <${Search} label="Search events" />
      <${Choice} name="app" label="Application" values=${rows.map((row) => row.application)} />
      <${Choice} name="region" label="Region" values=${rows.map((row) => row.region)} />
      <${Choice} name="by" label="Person" values=${rows.map((row) => row.by)} />
      <${Choice} name="kind" label="Kind" values=${KINDS.map(([value]) => value)} texts=${Object.fromEntries(KINDS)} />
      <span class="push"><${Button} onClick=${() => save("repave-events.jsonl", found)} reason=${found.length ? "" : "nothing is shown"}>Export<//></span>
    </div>
    <p class="faint small" role="status">${counted(found.length, "event")}${rows.length >= KEPT ? ` of the last ${KEPT}` : ""}</p>
    <${Problem} problem=${problem} />
    <ol class="events">${found.slice(0, 300).map((row) => html`<li key=${row.sequence}>
      <${Ago} at=${row.at} />
      <span class="event-kind"><code>${row.kind}</code></span>
      <span class="event-text">${row.text}</span>
      <span class="event-where">${row.application ? html`<a href=${`/apps/${part(row.application)}`}>${row.application}</a>` : null}${row.region ? html` <a href=${`/regions/${part(row.region)}`}>${row.region}</a>` : null}${row.host ? html` <a href=${`/hosts/${part(row.region)}/${part(row.host)}`}>${row.host}</a>` : null}${row.by ? html` <span class="faint">by ${row.by}</span>` : null}</span>
    </li>`)}</ol>`;
}

/** @param {Row} row
 * @param {Record<string, string>} words */
function matches(row, words) {
  const text = `${row.kind} ${row.text} ${row.host} ${row.group}`.toLowerCase();
  return (!words.q || text.includes(words.q.toLowerCase()))
    && (!words.region || row.region === words.region)
    && (!words.by || row.by === words.by)
    && (!words.kind || row.kind.startsWith(words.kind));
}

/** The last thousand; those that follow as the tab's stream tells that something has changed.
 * @param {string} application
 * @returns {{rows: Row[] | null, problem: unknown}} */
function useEvents(application) {
  const known = useRef(/** @type {{of: string, rows: Row[]} | null} */ (null));
  const change = [topic("fleet").value, topic("regions").value, topic("shell").value];
  const of = `${generation.value} ${application}`;
  const { data, problem } = useLoaded(async () => {
    const before = known.current?.of === of ? known.current.rows : [];
    const last = before[0]?.sequence;
    const said = await get("events", last ? { application, after: last, limit: KEPT } : { application, newest: true, limit: KEPT });
    const fresh = /** @type {Row[]} */ (said.items).filter((row) => !last || row.sequence > last).reverse();
    known.current = { of, rows: [...fresh, ...before].slice(0, KEPT) };
    return known.current;
  }, [of], change);
  return { rows: data?.of === of ? data.rows : null, problem };
}

/** One of what there is, kept in the address.
 * @param {{name: string, label: string, values: string[], texts?: Record<string, string>}} props */
function Choice({ name, label, values, texts = {} }) {
  const chosen = query.value[name] ?? "";
  const there = [...new Set([...values, chosen])].filter(Boolean).sort();
  return html`<label class="choice"><span class="sr">${label}</span><select value=${chosen} onChange=${(/** @type {any} */ event) => setQuery({ [name]: event.target.value })}><option value="">${label}: all</option>${there.map((value) => html`<option key=${value} value=${value}>${texts[value] ?? value}</option>`)}</select></label>`;
}

/** @param {{words: Record<string, string>}} props */
function Audit({ words }) {
  const reason = who.value?.kind === "local" ? "Requests are recorded once people and jobs have accounts; here everyone on this machine may do everything." : whyNot("audit");
  const { data, problem, again } = useLoaded(() => reason ? Promise.resolve(null) : get("audit", { newest: true, limit: 500 }), [reason]);
  if (reason) return html`<p class="nothing">${reason}</p>`;
  if (problem) return html`<${Problem} problem=${problem} again=${again} />`;
  if (!data) return html`<${Loading} />`;
  const rows = /** @type {Row[]} */ (data.items.map((/** @type {Row} */ each) => ({ number: each.number, hash: each.hash, ...JSON.parse(each.text) }))).reverse();
  const found = rows.filter((row) => !words.q || JSON.stringify(row).toLowerCase().includes(words.q.toLowerCase()));
  if (!rows.length) return html`<${Empty} title="No request is recorded" lines=${["repave audit"]}>With accounts, each request that changes something is recorded here, in a chain that shows whether a row was changed later.<//>`;
  return html`<div class="toolbar"><${Search} label="Search the audit log" /><span class="push"><${Button} onClick=${() => save("repave-audit.jsonl", found)}>Export<//></span></div>
    <ol class="events">${found.map((row) => html`<li key=${row.number}>
      <${Ago} at=${typeof row.at === "number" ? new Date(row.at * 1000).toISOString() : row.at} /><span class="event-kind"><code>${row.action}</code> ${row.outcome}</span>
      <span class="event-text">${[row.reason, ...Object.entries(row.facts ?? {}).map(([name, value]) => `${name} ${value}`)].filter(Boolean).join(", ")}</span><span class="event-where">${row.who} <span class="faint">${row.application ?? ""}</span></span>
    </li>`)}</ol>`;
}

/** @param {string} name
 * @param {Row[]} rows */
function save(name, rows) {
  const link = document.createElement("a");
  const content = new Blob(rows.map((row) => `${JSON.stringify(row)}\n`), { type: "application/jsonl" });
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
