// @ts-check
// What people do to an application, each with what it will do shown first. Used by its page and its rollout's.

import { newKey, part, post } from "./api.js";
import { who, whyNot } from "./may.js";
import { Button, Confirm, Loading, Problem, useKeys, useLoaded } from "./parts.js";
import { html, useState } from "./vendor/preact.js";
import { counted, duration } from "./words.js";

/** @typedef {Record<string, any>} App as the topic app:NAME has it */

/** @param {App} app
 * @param {string} verb
 * @param {Record<string, unknown>} body
 * @param {string} [generation] that the plan was made for */
const tell = (app, verb, body, generation) => post(`applications/${part(app.name)}/${verb}`, body, newKey(), generation);

const RUNS = ["running", "undoing", "paused"];

/** @param {App} app */
export function isRunning(app) { return Boolean(app.current_rollout && RUNS.includes(app.phase)) || (app.phase === "held" && app.rollout !== ""); }

/** Why it can't be done now; "" where it can.
 * @param {App} app
 * @param {string} verb */
export function reasonAgainst(app, verb) {
  const may = whyNot(verb === "promote" ? "approve" : "steer", app.name);
  if (may) return may;
  const phase = app.phase;
  if (verb === "rollback") return app.groups.length || app.current_rollout ? "" : "nothing served before";
  if (!isRunning(app)) return "no rollout is running";
  if (verb === "pause") return phase === "running" ? "" : phase === "undoing" ? "it is going back already" : `it is ${phase} already`;
  if (verb === "resume") return phase === "paused" || phase === "held" ? "" : "it is not paused";
  if (verb === "abort") return phase === "undoing" ? "it is going back already" : "";
  if (verb === "promote") return app.gates.length || app.waits.length ? "" : "it waits for no approval and for no time now";
  return "";
}

/** The buttons of a rollout, with their keys.
 * @param {{app: App}} props */
export function RolloutActions({ app }) {
  const [asked, setAsked] = useState("");
  const close = () => setAsked("");
  const is_still = app.phase === "paused" || app.phase === "held";
  const ask = (/** @type {string} */ verb) => { if (!reasonAgainst(app, verb)) setAsked(verb); };
  const turn = is_still ? "resume" : "pause";
  useKeys({ p: () => ask(turn), P: () => ask("promote"), a: () => ask("abort"), r: () => ask("rollback") });
  const button = (/** @type {string} */ verb, /** @type {string} */ text, /** @type {string} */ keys, kind = "") => html`<${Button} kind=${kind} keys=${keys} reason=${reasonAgainst(app, verb)} onClick=${() => setAsked(verb)}>${text}<//>`;
  const can_promote = !reasonAgainst(app, "promote");
  return html`${button("promote", app.gates.length ? "Approve" : "Promote", "P", can_promote && app.gates.length ? "primary" : "")}
    ${button(turn, is_still ? (app.phase === "held" ? "Try again" : "Resume") : "Pause", "p", is_still ? "primary" : "")}
    ${button("rollback", "Roll back", "r")}
    ${button("abort", "Abort", "a", "danger")}
    ${asked === "promote" ? html`<${Promote} app=${app} close=${close} />` : null}
    ${asked === "pause" ? html`<${Confirm} title="Pause this rollout?" verb="Pause" asks=${true} close=${close} act=${(/** @type {string} */ reason) => tell(app, "pause", { reason })}><p>Traffic stays where it is in every region and no region takes another step. It still goes back by itself when its hosts fall ill.</p><//>` : null}
    ${asked === "resume" ? html`<${Confirm} title=${app.phase === "held" ? "Try this step again?" : "Let it go on?"} verb=${app.phase === "held" ? "Try again" : "Resume"} close=${close} act=${() => tell(app, app.phase === "held" ? "retry" : "resume", {})}><p>${app.current_rollout?.outcome || "It goes on from the step where it stands."}</p><//>` : null}
    ${asked === "abort" ? html`<${Back} app=${app} verb="abort" close=${close} />` : null}
    ${asked === "rollback" ? html`<${Back} app=${app} verb="rollback" close=${close} />` : null}`;
}

/** What it waited for as it was opened: what it comes to wait for meanwhile was not agreed to.
 * @param {{app: App, close: () => void}} props */
function Promote({ app, close }) {
  const [{ gates, is_time }] = useState(() => ({ gates: app.gates.length ? app.gates : app.waits, is_time: !app.gates.length }));
  const role = who.value?.kind === "local" ? [...new Set(gates.map((/** @type {any} */ each) => each.role).filter(Boolean))].join() : "";
  const act = (/** @type {string} */ reason) => tell(app, "promote", { reason, gates: gates.map((/** @type {any} */ each) => each.gate), skip: is_time, ...(role ? { role } : {}) });
  return html`<${Confirm} title=${is_time ? "End what it waits for?" : "Approve?"} verb=${is_time ? "Promote" : "Approve"} asks=${true} close=${close} act=${act}>
    <ul class="plan-list">${gates.map((/** @type {any} */ each) => html`<li key=${each.gate}><strong>${each.gate}</strong>${each.role ? html` <span class="faint">role ${each.role}</span>` : null}<span class="where">${each.regions.length ? places(each.regions) : "the whole rollout"}</span></li>`)}</ul>
    <p class="soft">${is_time ? "The watch ends early: what would still have been seen in it is not." : "It goes on in these at once."}</p>
  <//>`;
}

/** A rollback or an abort, with its plan. From rest it is done only as it was shown; a rollout that moves on is turned round anyway.
 * @param {{app: App, verb: "abort" | "rollback", to?: string, version?: string, close: () => void}} props */
export function Back({ app, verb, to = "", version = "", close }) {
  const { data: planned, problem } = useLoaded(async () => ({ generation: app.generation, plan: await tell(app, "rollback/plan", to ? { to } : {}) }), [app.name, app.generation, to]);
  const data = planned?.plan;
  const is_ill = data?.regions.some((/** @type {any} */ each) => each.is_ill) ?? false;
  const act = (/** @type {string} */ reason) => tell(app, verb, verb === "abort" ? { reason } : { reason, to, force: is_ill }, data?.turns_round ? "" : planned?.generation);
  const refused = data?.problems.length && !is_ill ? data.problems[0] : "";
  return html`<${Confirm} title=${verb === "abort" ? `Abort the rollout of ${app.name}?` : `Roll ${app.name} back${version ? ` to ${version}` : ""}?`} verb=${verb === "abort" ? "Abort" : "Roll back"} kind="danger" needs=${is_ill || verb === "abort"} asks=${true} reason=${verb === "rollback" ? refused || (data || problem ? "" : "the plan is being made") : ""} close=${close} act=${act}>
    ${data?.turns_round ? html`<${TurnsRound} app=${app} />` : data ? html`<${BackPlan} plan=${data} />` : problem ? html`<${Problem} problem=${problem} />` : html`<${Loading} />`}
  <//>`;
}

/** The running rollout goes back, region by region from where it stands.
 * @param {{app: App}} props */
function TurnsRound({ app }) {
  const rollout = app.current_rollout;
  const tracks = /** @type {App[]} */ (rollout.waves.flatMap((/** @type {App} */ wave) => wave.regions));
  const begun = tracks.filter((each) => ["running", "done", "undoing"].includes(each.phase));
  const still = tracks.length - begun.length;
  const origins = [...new Set(begun.map((each) => each.origin).filter(Boolean))];
  const versions = origins.map((name) => app.groups.find((/** @type {App} */ group) => group.name === name)?.version || name);
  return html`<div class="plan-back">
    <p>The ${rollout.kind} to <code>${rollout.version}</code> turns round${versions.length ? html`: traffic goes back to <code>${versions.join(", ")}</code>, whose hosts are running` : ""}.</p>
    <ul class="plan-list">
      <li>${begun.length ? html`<strong class="num">${counted(begun.length, "region")}</strong> ${begun.length === 1 ? "has" : "have"} begun and ${begun.length === 1 ? "goes" : "go"} back<span class="where">${places(begun.map((each) => each.region))}</span>` : "No region has begun: nothing changes for clients."}</li>
      ${begun.length && still ? html`<li>${counted(still, "region")} ${still === 1 ? "has" : "have"} not begun and ${still === 1 ? "stays" : "stay"} as ${still === 1 ? "it is" : "they are"}</li>` : null}
    </ul>
  </div>`;
}

const HOW = /** @type {Record<string, string>} */ ({
  switch: "switch at once: its hosts are running",
  grow: "grow first: some of its hosts are running",
  build: "build anew: none of its hosts is left",
});

/** @param {{plan: Record<string, any>}} props */
export function BackPlan({ plan }) {
  const regions = /** @type {Record<string, any>[]} */ (plan.regions);
  const versions = [...new Set(regions.map((each) => each.version || each.group))];
  const kinds = ["switch", "grow", "build"].map((how) => ({ how, regions: regions.filter((each) => each.how === how) })).filter((each) => each.regions.length);
  const ill = regions.filter((each) => each.is_ill), away = regions.filter((each) => each.is_away);
  return html`<div class="plan-back">
    ${regions.length || !plan.problems.length ? html`<p>${versions.length ? html`To <code>${versions.join(", ")}</code> in ${counted(regions.length, "region")}` : "Nothing would change"}${plan.at_least_seconds > 0 ? `, ${duration(plan.at_least_seconds)} at least` : versions.length ? ", within seconds" : ""}.</p>` : null}
    <ul class="plan-list">${kinds.map((each) => html`<li key=${each.how}><strong class="num">${each.regions.length}</strong> ${HOW[each.how]}<span class="where">${places(each.regions.map((region) => region.name))}</span></li>`)}
      ${away.length ? html`<li>${counted(away.length, "region")} unreachable: they follow when they return<span class="where">${places(away.map((each) => each.name))}</span></li>` : null}
      ${Object.keys(plan.stays).length ? html`<li>${counted(Object.keys(plan.stays).length, "region")} stay as they are<span class="where">${places(Object.keys(plan.stays))}</span></li>` : null}</ul>
    ${ill.length ? html`<p class="warning">Too few of the kept hosts are healthy in ${places(ill.map((each) => each.name))}. It takes a reason, and is forced.</p>` : null}
    ${plan.problems.map((/** @type {string} */ text) => html`<p key=${text} class="warning">${text}</p>`)}
  </div>`;
}

/** @param {string[]} names */
export function places(names) { return names.length > 6 ? `${names.slice(0, 5).join(", ")} and ${names.length - 5} more` : names.join(", "); }
