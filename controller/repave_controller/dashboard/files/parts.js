// @ts-check
// What screens are built of. Texts from outside are always text nodes here.

import { Problem as ApiProblem, get } from "./api.js";
import { asker } from "./asking.js";
import { query, setQuery } from "./router.js";
import { html, signal, useEffect, useId, useRef, useState } from "./vendor/preact.js";
import { PHASES, commandLine, duration, percent } from "./words.js";

/** @typedef {import("./vendor/preact.js").ComponentChildren} Children */

// ------------------------------------------------------------------------------------------- pages

/** A screen: its title, what stands beside it, and its sections.
 * @param {{title: Children, lead?: Children, crumbs?: [string, string][], actions?: Children, children?: Children}} props `crumbs`: text and path */
export function Page({ title, lead, crumbs, actions, children }) {
  return html`<div class="page">
    <header class="page-head">
      <div class="page-title">
        ${crumbs?.length ? html`<nav class="crumbs" aria-label="Breadcrumb">${crumbs.map(([text, path]) => html`<a key=${path} href=${path}>${text}</a>`)}</nav>` : null}
        <h1 tabindex="-1">${title}</h1>
        ${lead ? html`<p class="lead">${lead}</p>` : null}
      </div>
      ${actions ? html`<div class="actions">${actions}</div>` : null}
    </header>
    ${children}
  </div>`;
}

/** @param {{title?: Children, note?: Children, actions?: Children, children?: Children, class?: string}} props */
export function Section({ title, note, actions, children, class: name = "" }) {
  const id = useId();
  return html`<section class=${`section ${name}`} aria-labelledby=${title ? id : undefined}>
    ${title ? html`<header class="section-head"><h2 id=${id}>${title}</h2>${note ? html`<span class="note">${note}</span>` : null}${actions ? html`<div class="actions">${actions}</div>` : null}</header>` : null}
    ${children}
  </section>`;
}

/** Nothing is there yet: what it is for, and the lines that bring the first one.
 * @param {{title: string, children?: Children, lines?: string[], action?: Children}} props */
export function Empty({ title, children, lines = [], action }) {
  return html`<div class="empty">
    <h2>${title}</h2>
    ${children ? html`<p>${children}</p>` : null}
    ${lines.map((line) => html`<${Copy} key=${line} text=${line} />`)}
    ${action ? html`<div class="actions">${action}</div>` : null}
  </div>`;
}

export function Loading() {
  return html`<p class="loading" role="status">Loading</p>`;
}

/** What went wrong, and what to do about it.
 * @param {{problem: unknown, again?: () => void}} props */
export function Problem({ problem, again }) {
  if (!problem) return null;
  const said = problem instanceof ApiProblem ? problem : new ApiProblem({ status: 0, detail: String(problem instanceof Error ? problem.message : /** @type {any} */ (problem).detail ?? problem) });
  const places = said.problems.filter((each) => each.message);
  return html`<div class="problem" role="alert">
    <p>${said.detail || said.title}</p>
    ${places.length > 0 && !(places.length === 1 && said.detail.includes(places[0]?.message ?? "")) ? html`<ul>${places.map((each) => html`<li>${each.line ? `line ${each.line}: ` : ""}${each.field ? html`<code>${each.field}</code> ` : null}${each.message}${each.fix ? ` (${each.fix})` : ""}</li>`)}</ul>` : null}
    ${said.remedy?.command ? html`<${Copy} text=${commandLine(said.remedy)} />` : null}
    ${again ? html`<${Button} onClick=${again}>Try again<//>` : null}
  </div>`;
}

// ------------------------------------------------------------------------------------------- signs

/** A phase or state: a sign and a word.
 * @param {{phase: string, text?: string, tone?: string}} props */
export function Chip({ phase, text, tone }) {
  const known = PHASES[phase] ?? { tone: "calm", sign: "·" };
  return html`<span class=${`chip tone-${tone ?? known.tone}`}><span aria-hidden="true">${known.sign}</span>${text ?? known.text ?? phase}</span>`;
}

/** Called each second while there are any and the tab is seen.
 * @type {Set<() => void>} */
const watches = new Set();
/** @type {ReturnType<typeof setInterval> | undefined} */
let ticking;

function tick() { if (!document.hidden) for (const watch of watches) watch(); }

/** What a text that speaks of the moment says; drawn anew only when it says something else.
 * @param {() => string} say */
export function useMoment(say) {
  const said = say();
  const newest = useRef({ say, said });
  newest.current = { say, said };
  const [, setTurn] = useState(0);
  useEffect(() => {
    const watch = () => { if (newest.current.say() !== newest.current.said) setTurn((before) => before + 1); };
    watches.add(watch);
    ticking ??= setInterval(tick, 1000);
    return () => {
      watches.delete(watch);
      if (!watches.size) { clearInterval(ticking); ticking = undefined; }
    };
  }, []);
  return said;
}

/** How long ago it was, or how long it is until then.
 * @param {{at: string | null | undefined, none?: string, bare?: boolean}} props `bare`: no "ago" or "in" */
export function Ago({ at, none = "–", bare = false }) {
  const said = useMoment(() => at ? since(Date.parse(at), bare) : "");
  if (!at) return html`<span class="faint">${none}</span>`;
  return html`<time class="num" datetime=${at} title=${new Date(at).toLocaleString()}>${said}</time>`;
}

/** What is past is said in steps that don't distract; what is to come, to the second in its last minute.
 * @param {number} at milliseconds
 * @param {boolean} bare */
function since(at, bare) {
  const seconds = (Date.now() - at) / 1000;
  const far = Math.abs(seconds);
  if (seconds < 0) return far < 1 && !bare ? "now" : `${bare ? "" : "in "}${duration(far < 60 ? far : far - (far % 60))}`;
  if (seconds < 10) return bare ? "< 10 s" : "just now";
  const text = duration(far - (far % (far < 60 ? 10 : 60)));
  return bare ? text : `${text} ago`;
}

/** The moment in milliseconds, each second anew while the component is there. */
export function useNow() { return 1000 * Number(useMoment(() => String(Math.floor(Date.now() / 1000)))); }

/** Shares of a whole, side by side. `parts` in tones; widths by value.
 * @param {{parts: {value: number, tone: string, text: string}[], of?: number, label: string, height?: number}} props */
export function Bar({ parts, of, label, height = 8 }) {
  const total = of ?? parts.reduce((sum, each) => sum + each.value, 0);
  const said = parts.filter((each) => each.value > 0).map((each) => each.text).join(", ");
  return html`<span class="bar" role="img" aria-label=${said ? `${label}: ${said}` : label} style=${{ height: `${height}px` }}>
    ${parts.map((each, index) => each.value > 0 && total > 0 ? html`<span key=${index} class=${`fill tone-${each.tone}`} title=${each.text} style=${{ width: `${(100 * each.value) / total}%` }}></span>` : null)}
  </span>`;
}

/** A share of traffic, or of a worker's work, wanted and acknowledged.
 * @param {{bp: number, wanted: number, tone?: string, label: string, works?: boolean}} props */
export function Weight({ bp, wanted, tone = "live", label, works = false }) {
  const what = `${percent(bp)} of the ${works ? "work" : "traffic"}`;
  const said = bp === wanted ? what : `${what}, ${percent(wanted)} wanted`;
  return html`<span class="weight" role="img" aria-label=${`${label}: ${said}`} title=${said}>
    <span class=${`fill tone-${tone}`} style=${{ width: `${bp / 100}%` }}></span>
    ${bp === wanted ? null : html`<span class="wanted" style=${{ left: `${wanted / 100}%` }}></span>`}
  </span>`;
}

/** Text to take along, such as a command.
 * @param {{text: string, label?: string, secret?: boolean}} props */
export function Copy({ text, label }) {
  const [is_done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    } catch { /* it can be marked by hand */ }
  };
  return html`<span class="copy"><code>${text}</code><button type="button" class="quiet" onClick=${copy} aria-label=${`Copy ${label ?? text}`}>${is_done ? "Copied" : "Copy"}</button><span class="sr" aria-live="polite">${is_done ? "Copied" : ""}</span></span>`;
}

/** A digest or another long name, its beginning shown.
 * @param {{text: string, length?: number}} props */
export function Short({ text, length = 12 }) { return html`<code class="short" title=${text}>${text.slice(0, length)}</code>`; }

// ----------------------------------------------------------------------------------------- buttons

/** With `reason` it can't be pressed, and says why.
 * @param {{children?: Children, onClick?: (event: Event) => void, reason?: string, kind?: string, keys?: string, type?: string, busy?: boolean, label?: string}} props `kind`: "primary", "danger", "quiet" or none */
export function Button({ children, onClick, reason = "", kind = "", keys, type = "button", busy = false, label }) {
  const id = useId();
  const press = (/** @type {Event} */ event) => { if (reason || busy) event.preventDefault(); else onClick?.(event); };
  return html`<span class="button-wrap" title=${reason || undefined}>
    <button type=${type} class=${kind} onClick=${press} aria-disabled=${reason || busy ? "true" : undefined} aria-describedby=${reason ? id : undefined} aria-keyshortcuts=${keys} aria-label=${label}>${children}${keys ? html`<kbd aria-hidden="true">${keys}</kbd>` : null}</button>
    ${reason ? html`<span class="why-not" role="tooltip" id=${id}>${reason}</span>` : null}
  </span>`;
}

/** Asks before something is done: what it does, and, where it is dangerous, why. `act` gets the reason; what it throws is shown.
 * @param {{title: string, children?: Children, verb: string, kind?: string, asks?: boolean, needs?: boolean, reason?: string, act: (reason: string) => Promise<unknown>, close: () => void}} props `asks`: for a reason; `needs`: not without one; `reason`: why it can't be done at all */
export function Confirm({ title, children, verb, kind = "primary", asks = false, needs = false, reason: whyNot = "", act, close }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const pressed = useRef(/** @type {EventTarget | null} */ (null));
  useEffect(() => { dialog.current?.showModal(); }, []);
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (busy || whyNot || (needs && !reason.trim())) return;
    setBusy(true);
    try {
      await act(reason.trim());
      close();
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  };
  const lacking = whyNot || (needs && !reason.trim() ? "say why first; it is kept in the history" : "");
  return html`<dialog ref=${dialog} aria-labelledby=${id} onClose=${close} onPointerDown=${(/** @type {Event} */ event) => { pressed.current = event.target; }} onClick=${(/** @type {Event} */ event) => { if (event.target === dialog.current && pressed.current === dialog.current) close(); }}>
    <form onSubmit=${submit}>
      <h2 id=${id}>${title}</h2>
      <div class="dialog-body">${children}
        ${asks || needs ? html`<label class="field"><span>Why${needs ? "" : " (optional)"}</span><textarea rows="2" maxlength="500" value=${reason} onInput=${(/** @type {any} */ event) => setReason(event.target.value)} autofocus></textarea></label>` : null}
        <${Problem} problem=${problem} />
      </div>
      <div class="dialog-actions"><${Button} onClick=${close}>Cancel<//><${Button} type="submit" kind=${kind} busy=${busy} reason=${lacking} onClick=${() => {}}>${busy ? "Asking" : verb}<//></div>
    </form>
  </dialog>`;
}

// ------------------------------------------------------------------------------------------ tables

/** @template Row
 * @typedef {{key: string, title: string, cell: (row: Row) => Children, sort?: (row: Row) => string | number, align?: "end", wide?: boolean, primary?: boolean, spare?: boolean}} Column
 * `primary`: what the row is called; `wide`: takes what room is left; `spare`: left out where there is little */

/** Rows that can be sorted by their headings; the order is in the address. On a phone each row is a card.
 * @template Row
 * @param {{rows: Row[], columns: Column<Row>[], id: (row: Row) => string, label: string, initial?: string, name?: string, empty?: Children}} props `initial`: a column's key, with - before it from the greatest; `name`: of the word in the address */
export function Table({ rows, columns, id, label, initial = "", name = "sort", empty }) {
  const order = query.value[name] || initial;
  const is_down = order.startsWith("-");
  const by = columns.find((each) => each.key === order.replace(/^-/, ""));
  const sorted = by?.sort ? [...rows].sort((one, other) => compare(/** @type {any} */ (by).sort(one), /** @type {any} */ (by).sort(other)) * (is_down ? -1 : 1)) : rows;
  const turn = (/** @type {string} */ key) => setQuery({ [name]: order === key ? `-${key}` : key });
  if (!rows.length && empty) return html`<div class="nothing">${empty}</div>`;
  const orders = rows.length > 1 ? columns.filter((each) => each.sort) : [];
  return html`<div class="table-wrap">${orders.length > 1 ? html`<div class="sort-by"><label>Sort by <select value=${by?.key ?? ""} onChange=${(/** @type {any} */ event) => setQuery({ [name]: event.target.value })}>${by ? null : html`<option value=""></option>`}${orders.map((each) => html`<option key=${each.key} value=${each.key}>${each.title}</option>`)}</select></label>${by ? html`<button type="button" class="quiet" onClick=${() => turn(by.key)} aria-label=${is_down ? "From the other end" : "Turn the order round"}>${is_down ? "↓" : "↑"}</button>` : null}</div>` : null}<table aria-label=${label}>
    <thead><tr>${columns.map((each) => html`<th key=${each.key} scope="col" class=${cell(each)} aria-sort=${by === each ? (is_down ? "descending" : "ascending") : undefined}>
      ${each.sort ? html`<button type="button" class="sort" onClick=${() => turn(each.key)}>${each.title}<span aria-hidden="true">${by === each ? (is_down ? "↓" : "↑") : ""}</span></button>` : each.title}
    </th>`)}</tr></thead>
    <tbody>${sorted.map((row) => html`<tr key=${id(row)}>${columns.map((each) => each.primary ? html`<th key=${each.key} scope="row" class=${cell(each)}>${each.cell(row)}</th>` : html`<td key=${each.key} class=${cell(each)} data-title=${each.title}>${each.cell(row)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** @param {{align?: string, wide?: boolean, spare?: boolean}} column */
function cell(column) { return `${column.align === "end" ? "end num" : ""}${column.wide ? " wide" : ""}${column.spare ? " is-spare" : ""}`; }

/** @param {string | number} one
 * @param {string | number} other */
function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

/** Words that narrow a list, kept in the address.
 * @param {{name: string, label: string, options: [string, string][], count?: Record<string, number>}} props options: value and text; "" is all */
export function Filter({ name, label, options, count = {} }) {
  const chosen = query.value[name] ?? "";
  return html`<div class="filter" role="group" aria-label=${label}>${options.map(([value, text]) => html`<button key=${value} type="button" aria-pressed=${chosen === value} onClick=${() => setQuery({ [name]: value })}>${text}${count[value] !== undefined ? html` <span class="count num">${count[value]}</span>` : null}</button>`)}</div>`;
}

/** @param {{name?: string, label: string}} props */
export function Search({ name = "q", label }) {
  return html`<input type="search" class="search" data-search aria-label=${label} placeholder=${label} value=${query.value[name] ?? ""} onInput=${(/** @type {any} */ event) => setQuery({ [name]: event.target.value })} autocomplete="off" spellcheck=${false} />`;
}

/** Tabs whose choice is in the address.
 * @param {{name: string, label: string, options: [string, string][]}} props */
export function Tabs({ name, label, options }) {
  const chosen = query.value[name] ?? "";
  return html`<nav class="tabs" aria-label=${label}>${options.map(([value, text]) => html`<button key=${value} type="button" aria-current=${chosen === value ? "page" : undefined} onClick=${() => setQuery({ [name]: value })}>${text}</button>`)}</nav>`;
}

// ------------------------------------------------------------------------------------------- hosts

/** The order in which hosts are drawn, and how. */
export const HOST_KINDS = /** @type {const} */ ([
  ["verified", "good", "verified"],
  ["healthy", "soft", "healthy"],
  ["starting", "live", "starting"],
  ["launching", "dim", "launching"],
  ["unhealthy", "warn", "unhealthy"],
  ["failed", "bad", "failed"],
  ["destroying", "none", "ending"],
]);

/** What its hosts are, in words.
 * @param {Record<string, any>} group */
export function hostsText(group) {
  const said = HOST_KINDS.map(([name, , text]) => group[name] ? `${group[name]} ${text}` : "").filter(Boolean);
  return said.join(", ") || "no hosts";
}

/** One square a host, on a canvas: thousands cost nothing. A press opens the host, or by keyboard all of them, beside the page.
 * @param {{group: Record<string, any>, label: string, size?: number, width?: number, region: string}} props */
export function HostGrid({ group, label, size = 9, width = 240, region }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const counts = HOST_KINDS.map(([name]) => Number(group[name]) || 0);
  const there = counts.reduce((sum, each) => sum + each, 0);
  const missing = Math.max(0, (group.size ?? 0) - there + (Number(group.destroying) || 0));
  const total = there + missing;
  const [place, room] = useRoom(width);
  const across = Math.max(1, Math.floor((Math.min(width, room) + 2) / (size + 2)));
  const rows = Math.max(1, Math.ceil(total / across));
  const columns = Math.min(across, Math.max(1, total));
  const key = counts.join() + missing;
  useEffect(() => { if (canvas.current) drawHosts(canvas.current, counts, missing, across, size); }, [key, across, size, themed.value]);
  const box = { width: `${columns * (size + 2) - 2}px`, height: `${rows * (size + 2) - 2}px` };
  const open = (/** @type {MouseEvent} */ event) => {
    const index = event.detail ? Math.floor(event.offsetY / (size + 2)) * across + Math.floor(event.offsetX / (size + 2)) : there;
    openHost(region, group.name, counts, index);
  };
  return html`<span class="hosts-room" ref=${place}><button type="button" class="hosts-button" onClick=${open} disabled=${!there} aria-label=${`${label}: ${hostsText(group)}`} title=${hostsText(group)}><canvas ref=${canvas} class="hosts" aria-hidden="true" width=${(columns * (size + 2) - 2) * 2} height=${(rows * (size + 2) - 2) * 2} style=${box}></canvas></button></span>`;
}

/** The host whose square is the one of this index, or the group's hosts where there is none.
 * @param {string} region
 * @param {string} group
 * @param {number[]} counts of each kind
 * @param {number} index */
async function openHost(region, group, counts, index) {
  let left = index;
  const kind = counts.findIndex((count) => { left -= count; return left < 0; });
  const phase = HOST_KINDS[kind]?.[0];
  const all = { hosts: `${region}/${group}`, host: "" };
  if (!phase) return void setQuery(all);
  const said = await get("hosts", { region, group }).catch(() => null);
  const found = said?.items.filter((/** @type {Record<string, any>} */ each) => each.phase === phase)[left + (counts[kind] ?? 0)];
  setQuery(found ? { host: `${region}/${found.name}`, hosts: "" } : all);
}

/** One for all: what each element that is watched does with its new width.
 * @type {WeakMap<Element, (width: number) => void>} */
const rooms = new WeakMap();
const observer = new ResizeObserver((entries) => { for (const each of entries) rooms.get(each.target)?.(each.contentRect.width); });

/** How wide the element is that gets the first of the two; `width` until that is known.
 * @param {number} width
 * @returns {[import("./vendor/preact.js").Ref<HTMLElement>, number]} */
export function useRoom(width) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const [room, setRoom] = useState(width);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    rooms.set(element, (found) => { if (found > 0) setRoom(Math.floor(found)); });
    observer.observe(element);
    return () => observer.unobserve(element);
  }, []);
  return [place, room];
}

/** Grows when light turns to dark or back: canvases are drawn anew. */
export const themed = signal(0);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { tones = null; themed.value += 1; });
/** @type {Record<string, string> | null} */
let tones = null;

/** After the theme was changed by hand. */
export function themeChanged() { tones = null; themed.value += 1; }

/** The colour of a tone, for canvases.
 * @param {string} tone */
export function colour(tone) {
  if (!tones) {
    const style = getComputedStyle(document.documentElement);
    tones = Object.fromEntries(["good", "soft", "live", "dim", "warn", "bad", "away", "none", "text", "faint", "line", "surface"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }
  return tones[tone] ?? "#888";
}

/** @param {HTMLCanvasElement} canvas
 * @param {number[]} counts
 * @param {number} missing
 * @param {number} across
 * @param {number} size */
function drawHosts(canvas, counts, missing, across, size) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const step = (size + 2) * 2;
  context.clearRect(0, 0, canvas.width, canvas.height);
  let place = 0;
  const square = () => { const at = place++; return /** @type {const} */ ([(at % across) * step, Math.floor(at / across) * step]); };
  for (const [index, [name, tone]] of HOST_KINDS.entries()) {
    context.fillStyle = context.strokeStyle = colour(tone === "none" ? "faint" : tone);
    context.lineWidth = 2;
    for (let left = counts[index] ?? 0; left > 0; left--) {
      const [x, y] = square();
      if (name === "launching" || name === "destroying") context.strokeRect(x + 1, y + 1, size * 2 - 2, size * 2 - 2);
      else context.fillRect(x, y, size * 2, size * 2);
      if (name === "failed") cross(context, x, y, size * 2);
    }
  }
  context.fillStyle = colour("line");
  for (let left = missing; left > 0; left--) {
    const [x, y] = square();
    context.fillRect(x + size - 2, y + size - 2, 4, 4);
  }
}

/** @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} size */
function cross(context, x, y, size) {
  context.strokeStyle = colour("surface");
  context.beginPath();
  context.moveTo(x + 4, y + 4);
  context.lineTo(x + size - 4, y + size - 4);
  context.moveTo(x + size - 4, y + 4);
  context.lineTo(x + 4, y + size - 4);
  context.stroke();
}

// ------------------------------------------------------------------------------------------- asking

/** What `load` gives, asked anew at once when `on` changes, and soon after `change`.
 * @template Data
 * @param {() => Promise<Data>} load
 * @param {unknown[]} on What it is of.
 * @param {unknown[]} [change] What tells that it may be another one by now.
 * @returns {{data: Data | null, problem: unknown, again: () => void}} */
export function useLoaded(load, on, change = []) {
  const [state, setState] = useState(/** @type {{data: Data | null, problem: unknown}} */ ({ data: null, problem: null }));
  const newest = useRef(load);
  newest.current = load;
  const asking = useRef(/** @type {ReturnType<typeof asker> | null} */ (null));
  useEffect(() => {
    const mine = asker(
      () => newest.current(),
      (data) => setState({ data, problem: null }),
      (problem) => setState((before) => ({ data: before.data, problem })),
    );
    asking.current = mine;
    mine.ask();
    return mine.end;
  }, on);
  const is_first = useRef(true);
  useEffect(() => {
    if (!is_first.current) asking.current?.soon();
    is_first.current = false;
  }, change);
  return { ...state, again: () => asking.current?.ask() };
}

/** What each key does while the component is there; not while the person writes.
 * @param {Record<string, () => void>} keys */
export function useKeys(keys) {
  const newest = useRef(keys);
  newest.current = keys;
  useEffect(() => {
    const press = (/** @type {KeyboardEvent} */ event) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      const at = event.target;
      if (at instanceof Element && at.closest("input, textarea, select, [contenteditable]")) return;
      const act = newest.current[event.key];
      if (act) { event.preventDefault(); act(); }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}
