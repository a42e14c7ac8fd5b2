// @ts-check
// An application's regions as rows: how each is, its groups with their share of the traffic, their hosts.

import { part } from "./api.js";
import { Chip, Filter, HOST_KINDS, HostGrid, Weight, hostsText } from "./parts.js";
import { query } from "./router.js";
import { html } from "./vendor/preact.js";
import { STATES, capital, counted, number, percent } from "./words.js";

/** @typedef {Record<string, any>} Column as the topic has it */
const ORDER = "fxmbu";

/** The tone of a group: the one that comes is blue, the one that serves is grey.
 * @param {Column} group
 * @param {string} target */
export function toneOf(group, target) { return group.name === target ? "live" : "calm"; }

/** @param {{columns: Column[], target: string}} props */
export function Regions({ columns, target }) {
  const wanted = query.value.state ?? "";
  /** @type {Record<string, number>} */
  const count = { "": columns.length };
  for (const each of columns) count[each.state] = (count[each.state] ?? 0) + 1;
  const shown = columns.filter((each) => !wanted || each.state === wanted).sort((one, other) => ORDER.indexOf(one.state) - ORDER.indexOf(other.state) || one.name.localeCompare(other.name));
  const options = /** @type {[string, string][]} */ ([["", "All"], ...[...ORDER].filter((letter) => count[letter]).map((letter) => [letter, capital(STATES[letter]?.text ?? "")])]);
  return html`${options.length > 2 ? html`<${Filter} name="state" label="Show regions" options=${options} count=${count} />` : null}
    <ul class="region-rows">${shown.map((each) => html`<${RegionRow} key=${each.name} column=${each} target=${target} />`)}</ul>`;
}

/** @param {{column: Column, target: string}} props */
function RegionRow({ column, target }) {
  const state = STATES[column.state] ?? { tone: "calm", text: "" };
  const troubles = [column.ahead, ...column.troubles, ...column.groups.map((/** @type {Column} */ each) => each.trouble)].filter(Boolean);
  const shown = column.groups.filter((/** @type {Column} */ each) => isInUse(each, target));
  const kept = column.groups.filter((/** @type {Column} */ each) => !shown.includes(each) && presentIn(each));
  return html`<li class="region-row">
    <div class="region-name"><a href=${`/regions/${part(column.name)}`}>${column.name}</a><${StateSign} letter=${column.state} /></div>
    <div class="region-groups">${shown.length ? shown.map((/** @type {Column} */ group) => html`<${GroupLine} key=${group.name} group=${group} target=${target} place=${column.name} />`) : html`<span class="faint">No hosts yet</span>`}</div>
    <span class="faint kept">${kept.map((/** @type {Column} */ group) => `${group.version || group.name} ${group.state}, ${counted(group.verified, "host")}`).join("; ")}</span>
    ${troubles.length ? html`<p class="trouble">${troubles[0]}</p>` : null}
    ${column.current || !column.connected ? null : html`<p class="faint note">has yet to confirm the newest state</p>`}
    <span class="sr">${state.text}</span>
  </li>`;
}

/** @param {Column} group
 * @param {string} target */
function isInUse(group, target) { return group.weight_bp > 0 || group.wanted_weight_bp > 0 || Boolean(group.trouble) || (group.name === target && presentIn(group) > 0); }

/** @param {Column} group */
function presentIn(group) { return HOST_KINDS.reduce((sum, [name]) => sum + (group[name] ?? 0), 0); }

/** @param {{letter: string}} props */
export function StateSign({ letter }) {
  const phases = /** @type {Record<string, string>} */ ({ u: "ok", m: "running", b: "waiting", f: "fail", x: "away" });
  return letter === "u" ? null : html`<${Chip} phase=${phases[letter] ?? "waiting"} text=${STATES[letter]?.text} />`;
}

/** @param {{group: Column, target: string, place: string}} props */
export function GroupLine({ group, target, place }) {
  const label = `${group.version || group.name} in ${place}`;
  return html`<div class="group-line">
    <code class="group-version" title=${group.name}>${group.version || group.name}</code>
    <${Weight} bp=${group.weight_bp} wanted=${group.wanted_weight_bp} tone=${toneOf(group, target)} label=${label} />
    <span class="num share">${percent(group.weight_bp)}</span>
    <span class="num faint ready" title=${hostsText(group)}>${number(group.verified)}/${number(group.size)}</span>
    <${HostGrid} group=${group} label=${label} size=${group.size > 120 ? 5 : 9} width=${group.size > 120 ? 420 : 350} region=${place} />
  </div>`;
}

/** The least that must be said of many.
 * @param {Column[]} columns */
export function summaryOf(columns) {
  const away = columns.filter((each) => each.state === "x").length;
  return `${counted(columns.length, "region")}${away ? `, ${away} unreachable` : ""}`;
}
