// @ts-check
// Who may do what: agents and the line that lets a machine join, tokens, people, roles and teams, jobs of a CI.

import { get, part, post } from "../api.js";
import { who, whyNot } from "../may.js";
import { Ago, Button, Chip, Confirm, Copy, Empty, Loading, Page, Problem, Section, Table, Tabs, useLoaded } from "../parts.js";
import { html, useState } from "../vendor/preact.js";

export const topics = () => ["fleet"];

/** @typedef {Record<string, any>} Row */

const ROLES = ["viewer", "deployer", "approver", "admin", "scaler", "metrics"];
const DAY = 86_400;

/** @param {import("../routes.js").ScreenProps} props */
export default function Access({ query }) {
  const view = query.view ?? "";
  const lead = "Agents are the processes that act in regions. People and machines have tokens or a log-in, and roles say what they may.";
  return html`<${Page} title="Access" lead=${lead}>
    <${Tabs} name="view" label="View" options=${[["", "Agents"], ["tokens", "Tokens"], ["roles", "Roles"], ["people", "People"]]} />
    ${view === "tokens" ? html`<${Tokens} />` : view === "roles" ? html`<${Roles} />` : view === "people" ? html`<${People} />` : html`<${Agents} />`}
  <//>`;
}

/** What the API has, with what it says no with; `children` gets the answer.
 * @param {{from: ReturnType<typeof useLoaded>, children: (data: any) => any}} props */
function Loaded({ from, children }) {
  const refused = /** @type {{status?: number, rule?: string} | null} */ (from.problem);
  if (refused && (refused.rule === "no-accounts" || /no accounts/.test(String(from.problem)))) return html`<${NoAccounts} />`;
  if (from.problem) return html`<${Problem} problem=${from.problem} again=${from.again} />`;
  return from.data ? children(from.data) : html`<${Loading} />`;
}

function NoAccounts() {
  return html`<${Empty} title="This controller has no accounts" lines=${["repave-controller --accounts"]}>It listens on this machine only, and who reaches it may do everything. Started with accounts and TLS, it knows people and machines by tokens or by your identity provider, and lets each do what its roles say.<//>`;
}

// ------------------------------------------------------------------------------------------ agents

function Agents() {
  const agents = useLoaded(() => get("agents"), []);
  const [region, setRegion] = useState("");
  const [invited, setInvited] = useState(/** @type {Row | null} */ (null));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const [gone, setGone] = useState(/** @type {Row | null} */ (null));
  const reason = whyNot("operate");
  const invite = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setProblem(null);
    try { setInvited(await post(`agents/${part(region.trim())}/join-token`)); } catch (error) { setInvited(null); setProblem(error); }
  };
  return html`<${Section} title="Let a machine join" note="it becomes the agent of a region">
      <form class="toolbar" onSubmit=${invite}><input aria-label="Region" placeholder="Region, such as eu-west" value=${region} onInput=${(/** @type {any} */ event) => setRegion(event.target.value)} required autocomplete="off" spellcheck=${false} class="search" /><${Button} type="submit" kind="primary" reason=${reason || (region.trim() ? "" : "name the region first")} onClick=${() => {}}>Make the line<//></form>
      <${Problem} problem=${problem} />
      ${invited ? html`<div class="panel page-tight"><p>Run this on the machine of <strong>${invited.region}</strong>, then start <code>repave-agent</code>. It is good once, and ends <${Ago} at=${invited.expires_at} />. It is not shown again.</p><${Copy} label="the line" text=${invited.command} /></div>` : null}
    <//>
    <${Section} title="Agents">
      <${Loaded} from=${agents}>${(/** @type {Row} */ data) => html`<${Table} label="Agents" rows=${data.items} id=${(/** @type {Row} */ row) => row.name} initial="region" empty="No agent has joined over TLS. Those of this machine need no invitation: they are on the Regions page." columns=${[
        { key: "region", title: "Agent", primary: true, wide: true, sort: (/** @type {Row} */ row) => row.name, cell: (/** @type {Row} */ row) => html`<a href=${`/regions/${part(row.region)}`}>${row.name}</a>` },
        { key: "state", title: "Certificate", sort: (/** @type {Row} */ row) => row.state, cell: (/** @type {Row} */ row) => html`<${Chip} phase=${row.state === "valid" ? "ok" : "fail"} text=${row.state} />` },
        { key: "role", title: "Now", cell: (/** @type {Row} */ row) => row.role ? html`<${Chip} phase="connected" text=${row.role} />` : html`<span class="faint">away</span>` },
        { key: "joined", title: "Joined", align: "end", sort: (/** @type {Row} */ row) => Date.parse(row.joined_at), cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.joined_at} />` },
        { key: "expires", title: "Ends", align: "end", sort: (/** @type {Row} */ row) => Date.parse(row.expires_at), cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.expires_at} />` },
        { key: "revoke", title: "", align: "end", cell: (/** @type {Row} */ row) => row.state === "revoked" ? html`<span class="faint">by ${row.revoked_by}</span>` : html`<${Button} kind="quiet" label=${`Revoke ${row.name}`} reason=${reason} onClick=${() => setGone(row)}>Revoke<//>` },
      ]} />`}<//>
    <//>
    ${gone ? html`<${Confirm} title=${`Revoke ${gone.name}?`} verb="Revoke" kind="danger" asks=${true} close=${() => setGone(null)} act=${async (/** @type {string} */ why) => { await post(`agents/${part(gone.region)}/revoke`, { agent: gone.agent, reason: why }); agents.again(); }}><p>Its certificates are good for nothing from now on, and its stream ends. Its hosts go on serving, but nothing can be released in ${gone.region} until an agent joins there again.</p><//>` : null}`;
}

// ------------------------------------------------------------------------------------------ tokens

function Tokens() {
  const tokens = useLoaded(() => get("tokens"), []);
  const [is_making, setMaking] = useState(false);
  const [fresh, setFresh] = useState(/** @type {Row | null} */ (null));
  const [gone, setGone] = useState(/** @type {Row | null} */ (null));
  const reason = whyNot("accounts");
  return html`<${Loaded} from=${tokens}>${(/** @type {Row} */ data) => html`
    ${fresh ? html`<div class="panel page-tight" role="status"><p>The token of <strong>${fresh.item.name}</strong>. It is not shown again.</p><${Copy} label="the token" text=${fresh.token} /><p class="faint">In CI it is <code>REPAVE_TOKEN</code>; a person gives it to <code>repave login --token</code>.</p></div>` : null}
    <${Section} title="Tokens" actions=${html`<${Button} kind="primary" reason=${reason} onClick=${() => setMaking(true)}>New token<//>`}>
      <${Table} label="Tokens" rows=${data.items} id=${(/** @type {Row} */ row) => row.id} empty="There are no tokens yet." columns=${[
        { key: "name", title: "Of", primary: true, sort: (/** @type {Row} */ row) => row.name, cell: (/** @type {Row} */ row) => row.name },
        { key: "note", title: "For", wide: true, cell: (/** @type {Row} */ row) => row.note || row.method || html`<span class="faint">–</span>` },
        { key: "scopes", title: "At most", cell: (/** @type {Row} */ row) => row.scopes.length ? row.scopes.map(scope).join(", ") : html`<span class="faint">all its roles</span>` },
        { key: "state", title: "State", sort: (/** @type {Row} */ row) => row.state, cell: (/** @type {Row} */ row) => html`<${Chip} phase=${row.state === "active" ? "ok" : "waiting"} text=${row.state} />` },
        { key: "used", title: "Used", align: "end", sort: (/** @type {Row} */ row) => Date.parse(row.used_at ?? "1970-01-01"), cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.used_at} none="never" />` },
        { key: "expires", title: "Ends", align: "end", sort: (/** @type {Row} */ row) => Date.parse(row.expires_at), cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.expires_at} />` },
        { key: "revoke", title: "", align: "end", cell: (/** @type {Row} */ row) => row.state === "active" ? html`<${Button} kind="quiet" label=${`Revoke the token of ${row.name}`} reason=${reason} onClick=${() => setGone(row)}>Revoke<//>` : null },
      ]} />
    <//>
    ${is_making ? html`<${NewToken} close=${() => setMaking(false)} made=${(/** @type {Row} */ made) => { setFresh(made); tokens.again(); }} />` : null}
    ${gone ? html`<${Confirm} title=${`Revoke a token of ${gone.name}?`} verb="Revoke" kind="danger" asks=${true} close=${() => setGone(null)} act=${async (/** @type {string} */ why) => { await post(`tokens/${part(gone.id)}/revoke`, { reason: why }); tokens.again(); }}><p>${gone.note || "It"} is good for nothing from now on.${gone.id === who.value?.token ? " It is the one that you are logged in with." : ""}</p><//>` : null}`}<//>`;
}

/** @param {Row} each */
function scope(each) { return `${each.role} of ${each.applications === "*" ? "everything" : each.applications}`; }

/** @param {{close: () => void, made: (made: Row) => void}} props */
function NewToken({ close, made }) {
  const [asked, setAsked] = useState({ name: "", note: "", days: "90", role: "", applications: "*" });
  const field = (/** @type {string} */ name) => ({ value: /** @type {Row} */ (asked)[name], onInput: (/** @type {any} */ event) => setAsked({ ...asked, [name]: event.target.value }) });
  return html`<${Confirm} title="New token" verb="Make it" reason=${asked.name.trim() ? "" : "say whose it is first"} close=${close} act=${async () => made(await post("tokens", { name: asked.name.trim(), note: asked.note, expires_seconds: Number(asked.days) * DAY, scopes: asked.role ? [{ role: asked.role, applications: asked.applications || "*" }] : [] }))}>
    <label class="field"><span>Whose</span><input ...${field("name")} placeholder="a person or a machine, such as ci@shop" autocomplete="off" /></label>
    <label class="field"><span>What for (optional)</span><input ...${field("note")} maxlength="200" autocomplete="off" /></label>
    <label class="field"><span>Good for days</span><input type="number" min="1" max="366" ...${field("days")} /></label>
    <div class="fields-row"><label class="field"><span>At most the role</span><select ...${field("role")}><option value="">all that its owner has</option>${ROLES.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
    <label class="field"><span>of applications</span><input ...${field("applications")} placeholder="web-*" autocomplete="off" /></label></div>
  <//>`;
}

// ------------------------------------------------------------------------------------------- roles

function Roles() {
  const roles = useLoaded(() => get("roles"), []);
  const [is_giving, setGiving] = useState(false);
  const [gone, setGone] = useState(/** @type {Row | null} */ (null));
  const reason = whyNot("accounts");
  return html`<${Loaded} from=${roles}>${(/** @type {Row} */ data) => html`
    <${Section} title="Roles" note="a viewer reads, a deployer releases and steers, an approver approves and freezes, an admin does all" actions=${html`<${Button} kind="primary" reason=${reason} onClick=${() => setGiving(true)}>Give a role<//>`}>
      <${Table} label="Roles" rows=${data.items} id=${(/** @type {Row} */ row) => `${row.to} ${row.role} ${row.applications}`} initial="to" empty="No roles are given." columns=${[
        { key: "to", title: "To", primary: true, wide: true, sort: (/** @type {Row} */ row) => row.to, cell: (/** @type {Row} */ row) => row.to },
        { key: "role", title: "Role", sort: (/** @type {Row} */ row) => ROLES.indexOf(row.role), cell: (/** @type {Row} */ row) => row.role },
        { key: "applications", title: "Applications", sort: (/** @type {Row} */ row) => row.applications, cell: (/** @type {Row} */ row) => row.applications === "*" ? "all" : html`<code>${row.applications}</code>` },
        { key: "take", title: "", align: "end", cell: (/** @type {Row} */ row) => html`<${Button} kind="quiet" label=${`Withdraw ${row.role} from ${row.to}`} reason=${reason} onClick=${() => setGone(row)}>Withdraw<//>` },
      ]} />
    <//>
    <${Section} title="Teams">${data.teams.length ? html`<${Table} label="Teams" name="teams" rows=${data.teams} id=${(/** @type {Row} */ row) => row.name} columns=${[
      { key: "name", title: "Team", primary: true, cell: (/** @type {Row} */ row) => row.name },
      { key: "members", title: "Members", wide: true, cell: (/** @type {Row} */ row) => row.members.join(", ") || html`<span class="faint">none</span>` },
    ]} />` : html`<p class="nothing">No teams. A role given to <code>team:NAME</code> is that of all who are in it; <code>repave roles join TEAM NAME</code> puts one there.</p>`}<//>
    ${is_giving ? html`<${Giving} close=${() => setGiving(false)} done=${roles.again} />` : null}
    ${gone ? html`<${Confirm} title=${`Withdraw ${gone.role} from ${gone.to}?`} verb="Withdraw" kind="danger" asks=${true} close=${() => setGone(null)} act=${async (/** @type {string} */ why) => { await post("roles/withdraw", { to: gone.to, role: gone.role, applications: gone.applications, reason: why }); roles.again(); }}><p>${gone.to} can't do any more what ${gone.role} of ${gone.applications === "*" ? "all applications" : gone.applications} gives, at once and everywhere.</p><//>` : null}`}<//>`;
}

/** @param {{close: () => void, done: () => void}} props */
function Giving({ close, done }) {
  const [asked, setAsked] = useState({ to: "", role: "viewer", applications: "*" });
  const field = (/** @type {string} */ name) => ({ value: /** @type {Row} */ (asked)[name], onInput: (/** @type {any} */ event) => setAsked({ ...asked, [name]: event.target.value }) });
  return html`<${Confirm} title="Give a role" verb="Give it" asks=${true} reason=${asked.to.trim() ? "" : "say to whom first"} close=${close} act=${async (/** @type {string} */ why) => { await post("roles/grant", { to: asked.to.trim(), role: asked.role, applications: asked.applications || "*", reason: why }); done(); }}>
    <label class="field"><span>To</span><input ...${field("to")} placeholder="anna, oidc:anna or team:shop" autocomplete="off" /></label>
    <div class="fields-row"><label class="field"><span>Role</span><select ...${field("role")}>${ROLES.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
    <label class="field"><span>of applications</span><input ...${field("applications")} placeholder="web-*" autocomplete="off" /></label></div>
  <//>`;
}

// ------------------------------------------------------------------------------------------ people

function People() {
  const people = useLoaded(() => get("people"), []);
  const trusts = useLoaded(() => get("trusts"), []);
  const [gone, setGone] = useState(/** @type {Row | null} */ (null));
  const reason = whyNot("accounts");
  return html`<${Loaded} from=${people}>${(/** @type {Row} */ data) => html`
    <${Section} title="People" note="who have logged in with the identity provider">
      <${Table} label="People" rows=${data.items} id=${(/** @type {Row} */ row) => row.name} initial="name" empty="No one has logged in with an identity provider. docs/login.md says how to set one up." columns=${[
        { key: "name", title: "Name", primary: true, sort: (/** @type {Row} */ row) => row.name, cell: (/** @type {Row} */ row) => row.name },
        { key: "teams", title: "Teams by its groups", wide: true, cell: (/** @type {Row} */ row) => [...(row.admin ? ["admin"] : []), ...row.teams].join(", ") || html`<span class="faint">none</span>` },
        { key: "at", title: "Last log-in", align: "end", sort: (/** @type {Row} */ row) => Date.parse(row.at), cell: (/** @type {Row} */ row) => html`<${Ago} at=${row.at} />` },
        { key: "end", title: "", align: "end", cell: (/** @type {Row} */ row) => html`<${Button} kind="quiet" label=${`Log ${row.name} out everywhere`} reason=${reason} onClick=${() => setGone(row)}>Log out everywhere<//>` },
      ]} />
    <//>
    <${Section} title="Jobs of a CI" note="that log in by what their CI signs for them"><${Loaded} from=${trusts}>${(/** @type {Row} */ trusted) => html`<${Table} label="Jobs" name="jobs" rows=${trusted.items} id=${(/** @type {Row} */ row) => row.id} empty="No jobs are trusted." columns=${[
      { key: "name", title: "Are called", primary: true, cell: (/** @type {Row} */ row) => row.name },
      { key: "issuer", title: "Issuer", cell: (/** @type {Row} */ row) => html`<code>${row.issuer}</code>` },
      { key: "claims", title: "Must say", wide: true, cell: (/** @type {Row} */ row) => Object.entries(row.claims).map(([name, value]) => html`<code key=${name}>${name}=${value} </code>`) },
    ]} />`}<//><//>
    ${gone ? html`<${Confirm} title=${`Log ${gone.name} out everywhere?`} verb="Log out" kind="danger" asks=${true} close=${() => setGone(null)} act=${async (/** @type {string} */ why) => { await post(`people/${part(gone.name)}/end`, { reason: why }); people.again(); }}><p>All that came of their log-ins ends at once. They may log in again while the identity provider lets them.</p><//>` : null}`}<//>`;
}
