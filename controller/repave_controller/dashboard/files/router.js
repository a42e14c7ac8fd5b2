// @ts-check
// Which page the address names. Pages change it by links, navigate and setQuery; nothing else touches history.

import { computed, signal } from "./vendor/preact.js";

/** @typedef {Record<string, string>} Words */

const address = signal(location.pathname + location.search);

export const path = computed(() => address.value.split("?")[0] ?? "/");

/** What follows the ?, each name once. */
export const query = computed(() => {
  const text = address.value.split("?")[1] ?? "";
  return /** @type {Words} */ (Object.fromEntries(new URLSearchParams(text)));
});

/** @param {string} to a path of ours */
export function navigate(to) {
  history.pushState(null, "", to);
  address.value = to;
  scrollTo(0, 0);
}

const LEFT = "repave-next", LEFT_MS = 600_000;

/** The browser goes to the issuer of log-ins, and comes back to the front page: this is where it was to go.
 * @param {string} to a path of ours */
export function leaveFor(to) { try { sessionStorage.setItem(LEFT, JSON.stringify([to, Date.now()])); } catch { /* storage is off */ } }

/** Goes where it was to go before it left. */
export function returned() {
  try {
    const left = JSON.parse(sessionStorage.getItem(LEFT) ?? "null");
    sessionStorage.removeItem(LEFT);
    if (left && Date.now() - left[1] < LEFT_MS && path.peek() === "/") navigate(left[0]);
  } catch { /* storage is off */ }
}

/** Changes what the address says after ?; "" takes a name out. Going back does not step through each letter.
 * @param {Words} changes */
export function setQuery(changes) {
  const words = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) words.set(name, value);
    else words.delete(name);
  }
  const text = words.toString();
  const to = location.pathname + (text ? `?${text}` : "");
  history.replaceState(null, "", to);
  address.value = to;
}

/** The parameters of a pattern such as /apps/:app, or null.
 * @param {string} pattern
 * @param {string} at
 * @returns {Words | null} */
export function match(pattern, at) {
  const wanted = pattern.split("/");
  const given = at.replace(/(.)\/$/, "$1").split("/");
  if (wanted.length !== given.length) return null;
  /** @type {Words} */
  const params = {};
  for (const [index, word] of wanted.entries()) {
    const part = given[index] ?? "";
    if (word.startsWith(":")) {
      if (!part) return null;
      try { params[word.slice(1)] = decodeURIComponent(part); } catch { return null; }
    } else if (word !== part) return null;
  }
  return params;
}

/** Begins to follow links and the browser's buttons. */
export function begin() {
  addEventListener("popstate", () => { address.value = location.pathname + location.search; });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.hash && link.pathname === location.pathname) return;
    if (/^\/(v1|metrics|healthz|assets)(\/|$)/.test(link.pathname)) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}
