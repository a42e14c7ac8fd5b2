// @ts-check
// Asks the HTTP API. Every answer is data or a Problem, which says what is wrong and what to do.

/** @typedef {{field?: string, message?: string, line?: number, column?: number, fix?: string}} Place */
/** @typedef {{text?: string, command?: string, arguments?: string[], options?: Record<string, string | boolean>}} Remedy */

/** What the API, or the way to it, says no with. */
export class Problem extends Error {
  /** @param {{status: number, title?: string, detail?: string, rule?: string, problems?: Place[], facts?: Record<string, unknown>, remedy?: Remedy | null}} said */
  constructor(said) {
    super(said.detail || said.title || "the controller can't be reached");
    this.status = said.status;
    this.title = said.title ?? "";
    this.detail = said.detail ?? "";
    this.rule = said.rule ?? "";
    this.problems = said.problems ?? [];
    this.facts = said.facts ?? {};
    this.remedy = said.remedy ?? null;
  }
}

let csrf = "";

/** What a session's writes carry; whoami tells it.
 * @param {string} value */
export function useCsrf(value) { csrf = value; }

/** @param {string} path below /v1
 * @param {Record<string, string | number | boolean | undefined>} [query]
 * @returns {Promise<any>} */
export function get(path, query = {}) {
  const words = Object.entries(query).filter(([, value]) => value !== undefined && value !== "" && value !== false);
  const text = new URLSearchParams(words.map(([name, value]) => [name, value === true ? "1" : String(value)])).toString();
  return ask("GET", path + (text ? `?${text}` : ""));
}

/** Changes something. The same key asked twice is done once.
 * @param {string} path below /v1
 * @param {Record<string, unknown>} [body]
 * @param {string} [key]
 * @param {string} [generation] of the application that the person saw: refused if it has changed since
 * @returns {Promise<any>} */
export function post(path, body = {}, key = newKey(), generation = "") {
  /** @type {Record<string, string>} */
  const seen = generation ? { "If-Match": `"${generation}"` } : {};
  return ask("POST", path, JSON.stringify(body), { "Content-Type": "application/json", "Idempotency-Key": key, ...seen });
}

/** @param {string} method
 * @param {string} path
 * @param {BodyInit} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>} */
export async function ask(method, path, body, headers = {}) {
  const sent = { Accept: "application/json", ...headers, ...(csrf && method !== "GET" ? { "X-Repave-CSRF": csrf } : {}) };
  let response;
  try {
    response = await fetch(`/v1/${path}`, { method, body, headers: sent, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new Problem({ status: 0, title: "no connection", detail: "the controller can't be reached; trying again may help" });
  }
  const is_json = (response.headers.get("Content-Type") ?? "").includes("json");
  const said = is_json ? await response.json() : await response.text();
  if (response.ok) return said;
  throw new Problem(is_json ? said : { status: response.status, title: response.statusText, detail: String(said).slice(0, 300) });
}

export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A path's part: names may hold anything.
 * @param {string} name */
export function part(name) { return encodeURIComponent(name); }
