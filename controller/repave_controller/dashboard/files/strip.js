// @ts-check
// How an application is in each region: one cell a region, on a canvas, and all of them as a matrix.

import { part } from "./api.js";
import { colour, themed } from "./parts.js";
import { html, useEffect, useRef } from "./vendor/preact.js";
import { STATES } from "./words.js";

/** @typedef {Record<string, any>} Row */

/** In words: 96 up to date, 3 moving.
 * @param {string} states */
export function statesText(states) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const letter of states) if (letter !== "-") counts[letter] = (counts[letter] ?? 0) + 1;
  return Object.entries(STATES).filter(([letter]) => counts[letter]).map(([letter, { text }]) => `${counts[letter]} ${text}`).join(", ") || "no region";
}

/** @param {{row: Row, regions: string[], width?: number}} props */
export function RegionStrip({ row, regions, width = 168 }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const there = [...regions.keys()].filter((index) => row.states[index] !== "-");
  const letters = there.map((index) => row.states[index]).join("");
  const cell = Math.max(2, Math.min(14, Math.floor((width + 1) / Math.max(1, letters.length))));
  const across = Math.floor(width / cell);
  const lines = Math.max(1, Math.ceil(letters.length / across));
  const height = lines === 1 ? 14 : lines * 8;
  useEffect(() => { if (canvas.current) draw(canvas.current, letters, cell, across, lines === 1 ? 14 : 7); }, [letters, cell, across, themed.value]);
  const used = Math.min(width, Math.max(1, Math.min(letters.length, across)) * cell);
  return html`<canvas ref=${canvas} class="strip" role="img" aria-label=${statesText(letters)} title=${statesText(letters)} width=${used * 2} height=${height * 2} style=${{ width: `${used}px`, height: `${height}px` }}></canvas>`;
}

/** @param {HTMLCanvasElement} canvas
 * @param {string} letters
 * @param {number} cell
 * @param {number} across
 * @param {number} height */
function draw(canvas, letters, cell, across, height) {
  const context = canvas.getContext("2d");
  if (!context) return;
  context.clearRect(0, 0, canvas.width, canvas.height);
  const gap = cell > 4 ? 2 : 1;
  [...letters].forEach((letter, index) => {
    const x = (index % across) * cell * 2, y = Math.floor(index / across) * (height + 1) * 2;
    paint(context, letter, x, y, cell * 2 - gap * 2, height * 2);
  });
}

/** Each state has a shape of its own: full, half, outline, notched, hollow.
 * @param {CanvasRenderingContext2D} context
 * @param {string} letter
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height */
export function paint(context, letter, x, y, width, height) {
  const tone = STATES[letter]?.tone ?? "none";
  context.fillStyle = colour(tone === "good" ? "soft" : tone);
  if (letter === "u") context.fillRect(x, y, width, height);
  else if (letter === "m") {
    context.fillStyle = colour("dim");
    context.fillRect(x, y, width, height);
    context.fillStyle = colour("live");
    context.fillRect(x, y + height / 2, width, height / 2);
  } else if (letter === "b") context.fillRect(x, y + height * 0.65, width, height * 0.35);
  else if (letter === "f") {
    context.fillRect(x, y, width, height);
    context.fillStyle = colour("surface");
    if (width > 6) context.fillRect(x + width / 2 - 1, y + 4, 2, height - 8);
  } else if (letter === "x") {
    context.fillRect(x, y, width, 2);
    context.fillRect(x, y + height - 2, width, 2);
  }
}

/** Applications by regions; each cell the version that serves there, and a mark where it is not as it should be.
 * @param {{rows: Row[], regions: string[]}} props */
export function FleetMap({ rows, regions }) {
  const few = regions.length <= 8;
  return html`<div class="matrix-wrap" tabindex="0" role="region" aria-label="Versions by application and region"><table class=${`matrix ${few ? "is-few" : "is-many"}`}>
    <thead><tr><th scope="col">Application</th>${regions.map((name) => html`<th key=${name} scope="col"><a href=${`/regions/${part(name)}`}><span>${name}</span></a></th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.name}><th scope="row"><a href=${`/apps/${part(row.name)}`}>${row.name}</a><code class="faint">${row.version}</code></th>${regions.map((name, index) => html`<${Cell} key=${name} row=${row} index=${index} few=${few} />`)}</tr>`)}</tbody>
  </table></div>
  <${Legend} />`;
}

const LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const MARKS = /** @type {Record<string, string>} */ ({ u: "", m: "▸", b: "‹", f: "!", x: "×" });

/** @param {{row: Row, index: number, few: boolean}} props */
function Cell({ row, index, few }) {
  const letter = row.states[index] ?? "-";
  const version = row.known[LETTERS.indexOf(row.versions[index])] ?? "";
  const state = STATES[letter] ?? { tone: "none", text: "" };
  if (letter === "-") return html`<td class="place is-none"><span class="sr">not there</span></td>`;
  const said = `${version || "nothing serves"}: ${state.text}`;
  return html`<td class=${`place tone-${state.tone}`} title=${said}><span class="place-box"><span aria-hidden="true">${MARKS[letter]}</span>${few ? html`<code>${version || "–"}</code>` : null}<span class="sr">${said}</span></span></td>`;
}

function Legend() {
  return html`<p class="legend">${Object.entries(STATES).filter(([letter]) => letter !== "-").map(([letter, { tone, text }]) => html`<span key=${letter} class=${`place tone-${tone}`}><span class="place-box" aria-hidden="true">${MARKS[letter]}</span>${text}</span>`)}</p>`;
}
