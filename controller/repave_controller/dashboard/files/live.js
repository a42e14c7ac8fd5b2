// @ts-check
// The tab's one stream: each topic a signal with its newest snapshot. Closed while the tab is hidden.

import { batch, signal } from "./vendor/preact.js";

const AGAIN_MS = [500, 1000, 2000, 4000, 8000];
const CLOSE_HIDDEN_MS = 10_000;

/** "connecting", "live", "lost" (trying again) or "resting" (the tab is hidden). */
export const connection = signal("connecting");
/** Grows when another controller answers: what was fetched besides is to be fetched again. */
export const generation = signal(0);

/** @type {Map<string, import("./vendor/preact.js").Signal<any>>} */
const known = new Map();
/** @type {string[]} */
let followed = [];
/** @type {EventSource | null} */
let source = null;
let failures = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
/** @type {() => void} */
let denied = () => {};

/** The newest snapshot of a topic; null until it has come. A topic that may not be read has `problem`.
 * @param {string} name such as "app:web"
 * @returns {import("./vendor/preact.js").Signal<any>} */
export function topic(name) {
  let found = known.get(name);
  if (!found) known.set(name, found = signal(null));
  return found;
}

/** What the tab shows from now on.
 * @param {string[]} names */
export function follow(names) {
  const wanted = [...new Set(names)].sort();
  if (wanted.join() === followed.join()) return;
  followed = wanted;
  for (const name of known.keys()) if (!wanted.includes(name)) known.delete(name);
  open();
}

/** Where there is no log-in any more.
 * @param {() => void} handler */
export function onDenied(handler) { denied = handler; }

function open() {
  close();
  if (!followed.length || document.hidden) return;
  const opened = new EventSource(`/v1/live?topics=${encodeURIComponent(followed.join())}`);
  source = opened;
  opened.onopen = () => { failures = 0; connection.value = "live"; };
  opened.onerror = () => lost(opened);
  opened.addEventListener("reset", () => { generation.value += 1; });
  for (const name of followed) {
    const here = topic(name);
    opened.addEventListener(name, (event) => batch(() => { here.value = JSON.parse(event.data); }));
  }
}

/** The browser tries again by itself while it may; else we do, later each time.
 * @param {EventSource} opened */
async function lost(opened) {
  if (opened !== source) return;
  connection.value = "lost";
  if (opened.readyState !== EventSource.CLOSED) return;
  const wait = AGAIN_MS[Math.min(failures++, AGAIN_MS.length - 1)];
  timer = setTimeout(open, wait);
  const answer = await fetch("/v1/whoami", { headers: { Accept: "application/json" } }).catch(() => null);
  if (answer?.status === 401) { close(); denied(); }
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let hiding;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => { close(); connection.value = "resting"; }, CLOSE_HIDDEN_MS);
  else if (!source) { connection.value = "connecting"; open(); }
});
