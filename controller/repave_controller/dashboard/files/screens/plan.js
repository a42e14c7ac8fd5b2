// @ts-check
// What would a release do? A spec is pasted or opened by the id of a plan; who may, releases exactly that.

import { Problem as ApiProblem, ask as send, get, part, post } from "../api.js";
import { whyNot } from "../may.js";
import { Ago, Button, Confirm, Copy, Loading, Page, Problem, Section, useLoaded } from "../parts.js";
import { PlanView } from "../planview.js";
import { navigate, setQuery } from "../router.js";
import { SpecBox, keptSpec } from "../specbox.js";
import { html, useEffect, useState } from "../vendor/preact.js";
import { bytes } from "../words.js";

export const topics = () => ["fleet"];

/** @typedef {Record<string, any>} Row */

/** @param {import("../routes.js").ScreenProps} props */
export default function Plan({ query }) {
  const [spec, setSpec] = useState(keptSpec());
  const [digest, setDigest] = useState("");
  const [version, setVersion] = useState("");
  const [plan, setPlan] = useState(/** @type {Row | null} */ (null));
  const [draft, setDraft] = useState(/** @type {Row | null} */ (null));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const [is_busy, setBusy] = useState(false);
  const [is_asking, setAsking] = useState(false);
  const [is_storing, setStoring] = useState(false);
  const packages = useLoaded(() => get("images"), []);
  const shown = /** @type {Row[]} */ (useLoaded(() => get("plans"), []).data?.items ?? []);
  const stored = /** @type {Row[]} */ ((packages.data?.items ?? []).toSorted((/** @type {Row} */ one, /** @type {Row} */ other) => Date.parse(other.pushed_at) - Date.parse(one.pushed_at)));
  const chosen = digest || stored[0]?.digest || "";

  const ask = async (/** @type {Row} */ wanted) => {
    setBusy(true);
    setProblem(null);
    try {
      const said = await post("plan", wanted);
      setPlan(said);
      return said;
    } catch (error) { setPlan(null); setProblem(error); return null; } finally { setBusy(false); }
  };
  useEffect(() => {
    if (!query.id || query.id === plan?.id) return;
    get(`plans/${part(query.id)}`).then((found) => {
      setDraft(found);
      setSpec(found.spec);
      setDigest(found.digest);
      setVersion(found.version);
      ask({ spec: found.spec, filename: found.filename, digest: found.digest, version: found.version, keep_sizes: found.keep_sizes });
    }, setProblem);
  }, [query.id]);

  const store = async (/** @type {any} */ event) => {
    const file = /** @type {File | undefined} */ (event.target.files?.[0]);
    event.target.value = "";
    if (!file) return;
    setStoring(true);
    setProblem(null);
    try {
      const stored = await send("POST", "images", file, { "Content-Type": "application/gzip", "X-Repave-Name": file.name.replace(/\.(tar\.gz|tgz)$/, "") });
      setDigest(stored.digest);
      packages.again();
    } catch (error) { setProblem(error); } finally { setStoring(false); }
  };
  const wanted = { spec, digest: chosen, version, ...(draft && draft.spec === spec ? { filename: draft.filename, keep_sizes: draft.keep_sizes } : {}) };
  const show = async () => { const said = await ask(wanted); if (said) setQuery({ id: said.id }); };
  const places = problem instanceof ApiProblem && problem.rule === "spec" ? problem.problems : [];
  const lacking = !spec.trim() ? "paste a spec first" : !/^[0-9a-f]{64}$/.test(chosen) ? "choose a package: its SHA-256 has 64 digits from 0 to f" : "";
  const has_changed = draft && plan && draft.id !== plan.id && query.id === draft.id;
  const reason = !plan ? "" : plan.problems.length ? "it would be refused now" : whyNot("release", plan.application);
  return html`<${Page} title="Plan" lead="What a release would do: its steps, hosts, floor, time and cost. It changes nothing.">
    <div class="split wide-side">
      <${SpecBox} text=${spec} change=${setSpec} places=${places} fail=${setProblem} />
      <div class="page">
        <${Section} title="Package">
          ${packages.data || packages.problem ? null : html`<${Loading} />`}
          ${stored.length ? html`<label class="field"><span>Stored here</span><select value=${chosen} onChange=${(/** @type {any} */ event) => setDigest(event.target.value)}>${stored.some((each) => each.digest === chosen) ? null : html`<option value=${chosen}>another one</option>`}${stored.map((each) => html`<option key=${each.digest} value=${each.digest}>${each.name || "package"}, ${bytes(each.size_bytes)}, ${each.digest.slice(0, 12)}</option>`)}</select></label>` : packages.data ? html`<p class="soft">No package is stored here yet. Store a <code>.tar.gz</code> of your application's folder, or:</p><${Copy} text="repave image push ./app" />` : null}
          ${whyNot("release") ? null : html`<div class="actions"><label class="button file">${is_storing ? "Storing" : "Store a package"}<input type="file" class="sr" accept=".tar.gz,.tgz,application/gzip" disabled=${is_storing} onChange=${store} /></label></div>`}
          <label class="field"><span>SHA-256</span><input class="mono" value=${chosen} onInput=${(/** @type {any} */ event) => setDigest(event.target.value.trim().toLowerCase())} spellcheck=${false} autocomplete="off" /></label>
          <label class="field"><span>Version</span><input value=${version} placeholder="what people call it" onInput=${(/** @type {any} */ event) => setVersion(event.target.value)} autocomplete="off" /></label>
        <//>
        ${shown.length && !plan ? html`<${Section} title="Shown lately"><ul class="plain">${shown.slice(0, 8).map((each) => html`<li key=${each.id}><a href=${`/plan?id=${each.id}`}>${each.application} ${each.version}</a> <span class="faint"><code>${each.id}</code>, <${Ago} at=${each.asked_at} /></span></li>`)}</ul><//>` : null}
        <div class="actions"><${Button} kind="primary" busy=${is_busy} reason=${lacking} onClick=${show}>Show the plan<//></div>
      </div>
    </div>
    ${places.length ? null : html`<${Problem} problem=${problem} />`}
    ${has_changed ? html`<p class="note tone-warn" role="status">Plan ${draft?.id} is out of date: something has changed since it was shown. This is the plan as it is now.</p>` : null}
    ${plan ? html`<${Section} title=${`${plan.application}: ${plan.origin ? `${plan.origin} → ` : ""}${plan.group}${plan.origin ? "" : " (the first)"}, ${plan.version}`} actions=${html`<${Button} kind="primary" reason=${reason} onClick=${() => setAsking(true)}>Release this plan<//>`}>
      <${PlanView} plan=${plan} />
      <p class="soft">Send the link to who approves it: it opens this plan.</p><${Copy} label="the link" text=${`${location.origin}/plan?id=${plan.id}`} />
    <//>` : null}
    ${is_asking && plan ? html`<${Confirm} title=${`Release ${plan.version} of ${plan.application}?`} verb="Release" asks=${true} close=${() => setAsking(false)} act=${async (/** @type {string} */ why) => {
      const accepted = await post(`applications/${part(plan.application)}/releases`, { ...wanted, plan: plan.id, reason: why });
      setTimeout(() => navigate(accepted.rollout ? `/apps/${part(plan.application)}/rollouts/${accepted.rollout}` : "/queue"));
    }}>
      <p>It creates ${plan.creates_hosts} hosts, at most ${plan.peak_hosts} at once, and destroys ${plan.destroys_hosts}. It is refused if anything has changed since plan ${plan.id}.</p>
    <//>` : null}
  <//>`;
}
