// @ts-check
// The few words that the pages say themselves: phases, states, numbers and times. All else is the API's text.

/** A phase or state, what it is like, and the sign that says it without colour.
 * @type {Record<string, {tone: string, sign: string, text?: string}>} */
export const PHASES = {
  running: { tone: "live", sign: "▸" },
  undoing: { tone: "warn", sign: "↺", text: "going back" },
  paused: { tone: "warn", sign: "‖" },
  held: { tone: "bad", sign: "!" },
  succeeded: { tone: "good", sign: "✓" },
  "rolled-back": { tone: "warn", sign: "↺", text: "rolled back" },
  aborted: { tone: "calm", sign: "×" },
  deleting: { tone: "bad", sign: "×" },
  waiting: { tone: "calm", sign: "·" },
  done: { tone: "good", sign: "✓" },
  undone: { tone: "warn", sign: "↺", text: "as before" },
  skipped: { tone: "calm", sign: "–" },
  new: { tone: "live", sign: "+" },
  serving: { tone: "good", sign: "●" },
  warm: { tone: "calm", sign: "◐" },
  retiring: { tone: "calm", sign: "–" },
  failed: { tone: "bad", sign: "!" },
  connected: { tone: "good", sign: "●" },
  away: { tone: "bad", sign: "×" },
  ok: { tone: "good", sign: "✓" },
  warn: { tone: "warn", sign: "!" },
  fail: { tone: "bad", sign: "×" },
};

/** The letters of the fleet's states.
 * @type {Record<string, {tone: string, text: string}>} */
export const STATES = {
  u: { tone: "good", text: "up to date" },
  m: { tone: "live", text: "moving" },
  b: { tone: "warn", text: "behind" },
  f: { tone: "bad", text: "failing" },
  x: { tone: "away", text: "unreachable" },
  "-": { tone: "none", text: "not there" },
};

/** @param {number} count
 * @param {string} one
 * @param {string} [many] */
export function counted(count, one, many = `${one}s`) { return `${number(count)} ${count === 1 ? one : many}`; }

const grouped = new Intl.NumberFormat("en");
/** @param {number} value */
export function number(value) { return grouped.format(value); }

/** @param {number} bp basis points */
export function percent(bp) { return `${Number((bp / 100).toFixed(2))} %`; }

const UNITS = /** @type {const} */ ([[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]]);

/** Two units at most: 3 d 4 h, 12 min, 8 s.
 * @param {number} seconds */
export function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  if (left < 1) return "0 s";
  /** @type {string[]} */
  const said = [];
  for (const [size, unit] of UNITS) {
    const count = Math.floor(left / size);
    if (count) said.push(`${count} ${unit}`);
    else if (said.length) break;
    left -= count * size;
    if (said.length === 2 || (said.length && size === 60)) break;
  }
  return said.join(" ");
}

/** @param {number} bytes */
export function bytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes > 0 ? Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10)) : 0;
  return `${Number((bytes / 1024 ** power).toPrecision(3))} ${units[power]}`;
}

/** What to type, of a remedy.
 * @param {{command?: string, arguments?: string[], options?: Record<string, string | boolean>}} remedy */
export function commandLine(remedy) {
  const options = Object.entries(remedy.options ?? {}).flatMap(([name, value]) => value === true ? [`--${name}`] : value === false ? [] : [`--${name}`, String(value)]);
  const words = ["repave", ...(remedy.command ?? "").split(" "), ...(remedy.arguments ?? []), ...options];
  return words.map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`).join(" ");
}

/** Where a host listens; of a worker that does not, its address alone.
 * @param {Record<string, any>} host */
export function placeOf({ address, port }) { return address ? `${address}${port ? `:${port}` : ""}` : "–"; }

/** @param {string} text */
export function capital(text) { return text.slice(0, 1).toUpperCase() + text.slice(1); }

/** A text of the API as a sentence of its own.
 * @param {string} text */
export function sentence(text) { return text && capital(text) + (/[.!?]$/.test(text) ? "" : "."); }

/** The ways by which clients reach an application: `port 8000`, or `shop.example.com:443 (https web), :5432 (tcp db)`; "": by none.
 * @param {Record<string, any>[]} fronts */
export function waysIn(fronts) {
  const [main] = fronts;
  if (!main) return "";
  if (fronts.length === 1 && main.protocol === "http" && !main.matches) return `port ${main.port}`;
  return fronts.map((each) => `${each.matches.replace(/(?=\/)|$/, `:${each.port}`)} (${each.protocol} ${each.name})`).join(", ");
}

/** Whether it does work that nobody sends it: no traffic, and nothing that is kept for a way back.
 * @param {Record<string, any> | null} app */
export function isWorker(app) { return Boolean(app?.groups.some((/** @type {Record<string, any>} */ each) => each.worker)); }
