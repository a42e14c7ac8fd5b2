// @ts-check
// What the person may do, and why not. The controller decides; this only keeps buttons from promising too much.

import { get, useCsrf } from "./api.js";
import { signal } from "./vendor/preact.js";

/** @typedef {{name: string, kind: string, roles: {role: string, applications: string}[], scopes: {role: string, applications: string}[], teams: string[], csrf: string, token: string, method: string, issuer: string, expires_at: string | null}} Who */

/** @type {Record<string, string[]>} */
const ROLES_FOR = {
  read: ["viewer", "deployer", "approver", "admin"],
  release: ["deployer", "admin"],
  steer: ["deployer", "admin"],
  approve: ["approver", "admin"],
  override: ["approver", "admin"],
  freeze: ["approver", "admin"],
  remove: ["admin"],
  operate: ["admin"],
  accounts: ["admin"],
  audit: ["admin"],
};

/** Null until it is known, or without a log-in.
 * @type {import("./vendor/preact.js").Signal<Who | null>} */
export const who = signal(null);

/** Raises Problem where there is no log-in. */
export async function recognise() {
  const said = await get("whoami");
  useCsrf(said.csrf ?? "");
  who.value = said;
}

/** Why the person may not; "" where they may.
 * @param {string} permission such as "steer"
 * @param {string} [application] none: for the installation
 * @returns {string} */
export function whyNot(permission, application = "") {
  const person = who.value;
  if (!person) return "log in first";
  if (person.kind === "local") return "";
  const roles = ROLES_FOR[permission] ?? ["admin"];
  const gives = (/** @type {Who["roles"]} */ given) => given.some((each) => roles.includes(each.role) && covers(each.applications, application));
  if (gives(person.roles) && (!person.scopes?.length || gives(person.scopes))) return "";
  const where = application ? ` for ${application}` : "";
  return `takes the role ${roles[0]}${where}, which ${person.name} does not have`;
}

/** @param {string} glob
 * @param {string} application */
function covers(glob, application) {
  if (glob === "*") return true;
  if (!application) return false;
  const pattern = glob.replace(/[.+^${}()|\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".").replaceAll("[!", "[^");
  try { return new RegExp(`^${pattern}$`).test(application); } catch { return false; }
}
