// @ts-check
// Where a spec is pasted, taken from a file or from what serves, and its errors stand beside its lines.

import { get, part } from "./api.js";
import { topic } from "./live.js";
import { html, useEffect, useId, useRef } from "./vendor/preact.js";

/** @typedef {import("./api.js").Place} Place */

/** What the person typed, kept while the tab lives: going to another page and back loses nothing. */
let kept = "";
export function keptSpec() { return kept; }
/** @param {string} text */
export function keepSpec(text) { kept = text; }

/** @param {{text: string, change: (text: string) => void, places?: Place[], fail?: (problem: unknown) => void}} props `places`: errors, each marked at its line */
export function SpecBox({ text, change, places = [], fail = () => {} }) {
  const id = useId();
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const lines = text.split("\n").length;
  const wrong = new Map(places.filter((each) => each.line).map((each) => [each.line, each]));
  useEffect(() => { keepSpec(text); }, [text]);
  const names = /** @type {Record<string, any>[]} */ (topic("fleet").value?.items ?? []).map((each) => String(each.name));
  const take = async (/** @type {string} */ name) => {
    if (!name) return;
    try { change((await get(`applications/${part(name)}/spec`)).text); } catch (problem) { fail(problem); }
  };
  const read = async (/** @type {any} */ event) => {
    const file = event.target.files?.[0];
    if (file) change(await file.text());
    event.target.value = "";
  };
  const go = (/** @type {Place} */ place) => {
    const at = text.split("\n").slice(0, (place.line ?? 1) - 1).join("\n").length + (place.line === 1 ? 0 : 1) + Math.max(0, (place.column ?? 1) - 1);
    area.current?.focus();
    area.current?.setSelectionRange(at, at);
  };
  return html`<div class="spec-box">
    <div class="toolbar">
      <label for=${id}><h2>Spec</h2></label>
      <span class="push actions">
        ${names.length ? html`<select aria-label="Take the spec of an application" value="" onChange=${(/** @type {any} */ event) => { take(event.target.value); event.target.value = ""; }}><option value="">Take what serves</option>${names.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select>` : null}
        <label class="button file">Open a file<input type="file" class="sr" accept=".yaml,.yml" onChange=${read} /></label>
      </span>
    </div>
    <div class="spec-lines">
      <div class="line-numbers" aria-hidden="true">${Array.from({ length: lines }, (_, index) => html`<span key=${index} class=${wrong.has(index + 1) ? "is-wrong" : ""}>${index + 1}</span>`)}</div>
      <textarea ref=${area} id=${id} class="code" rows=${Math.min(40, Math.max(14, lines))} spellcheck=${false} autocapitalize="off" autocomplete="off" wrap="off" aria-invalid=${places.length ? "true" : undefined} aria-describedby=${places.length ? `${id}-wrong` : undefined} placeholder="Paste a repave.yaml" value=${text} onInput=${(/** @type {any} */ event) => change(event.target.value)} onScroll=${(/** @type {any} */ event) => { event.target.previousElementSibling.scrollTop = event.target.scrollTop; }}></textarea>
    </div>
    ${places.length ? html`<ul class="places" id=${`${id}-wrong`}>${places.map((each, index) => html`<li key=${index}><button type="button" class="quiet place" onClick=${() => go(each)}>${each.line ? html`<span class="num">Line ${each.line}</span>` : null}<code>${each.field}</code></button><span>${each.message}${each.fix ? `; ${each.fix}` : ""}</span></li>`)}</ul>` : null}
  </div>`;
}
