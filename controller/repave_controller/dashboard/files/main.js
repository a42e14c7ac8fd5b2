// @ts-check
// The frame of every page: navigation, what is so for the whole installation, the screen.

import { Icon, Mark } from "./icons.js";
import { connection, follow, onDenied, topic } from "./live.js";
import { recognise, who } from "./may.js";
import { post } from "./api.js";
import { Ago, Button, Confirm, Loading, Problem, themeChanged, themed, useKeys } from "./parts.js";
import { begin, match, navigate, path, query, returned } from "./router.js";
import { routes } from "./routes.js";
import { effect, html, render, signal, useEffect, useRef, useState } from "./vendor/preact.js";

/** @typedef {import("./routes.js").Route} Route */

const KEYS = [["/", "search"], ["?", "these keys"], ["g f", "fleet"], ["g r", "regions"], ["g q", "queue"], ["g e", "events"], ["g s", "safety"], ["g a", "ages"], ["p", "pause or resume, on a rollout"], ["P", "promote, on a rollout"], ["a", "abort, on a rollout"], ["r", "roll back, on an application or rollout"]];
const GOES = /** @type {Record<string, string>} */ ({ f: "/", r: "/regions", q: "/queue", e: "/events", s: "/safety", a: "/ages" });

/** @type {import("./vendor/preact.js").Signal<{route: Route | null, params: Record<string, string>, module: import("./routes.js").Screen | null, problem: unknown}>} */
const shown = signal({ route: null, params: {}, module: null, problem: null });
const startProblem = signal(/** @type {unknown} */ (null));
const isKnown = signal(false);

effect(() => {
  const at = path.value;
  for (const route of routes) {
    const params = match(route.path, at);
    if (params) return void load(route, params);
  }
  shown.value = { route: null, params: {}, module: null, problem: null };
});

/** @param {Route} route
 * @param {Record<string, string>} params */
function load(route, params) {
  const before = shown.peek();
  const is_same = before.route === route && before.module;
  shown.value = { route, params, module: is_same ? before.module : null, problem: null };
  document.title = `${route.title.replace(/\{(\w+)\}/g, (_, name) => params[name] ?? "")} · repave`;
  if (is_same) return;
  route.load().then(
    (module) => { if (shown.peek().route === route) shown.value = { ...shown.peek(), module: /** @type {import("./routes.js").Screen} */ (module) }; },
    (problem) => { if (shown.peek().route === route) shown.value = { ...shown.peek(), problem }; },
  );
}

effect(() => {
  const { module, route, params } = shown.value;
  if (!isKnown.value || !route || route.open) return follow([]);
  if (module) follow(["shell", ...beside(query.value.host ?? query.value.hosts), ...(module.topics?.(params, query.value) ?? [])]);
});

/** What the panel beside a page follows, for `?host=REGION/NAME`.
 * @param {string | undefined} place */
function beside(place) { return place?.includes("/") ? [`region:${place.split("/")[0]}`] : []; }

/** Who reads with their ears, or goes by keyboard, begins at the heading of a new page.
 * @param {string} at
 * @param {unknown} module */
function useHeading(at, module) {
  const before = useRef(at);
  useEffect(() => {
    if (!module || before.current === at) return;
    before.current = at;
    /** @type {HTMLElement | null} */ (document.querySelector("main h1"))?.focus();
  }, [at, module]);
}

function App() {
  const { route, module, params, problem } = shown.value;
  useHeading(path.value, module);
  if (route?.open) return html`<main id="main" class="alone">${module ? html`<${module.default} params=${params} query=${query.value} />` : html`<${Loading} />`}</main>`;
  return html`<a class="skip" href="#main">Skip to the page</a>
    <${Navigation} />
    <div class="body">
      <${Lost} />
      <${Frozen} />
      <main id="main" tabindex="-1">
        ${startProblem.value ? html`<${Problem} problem=${startProblem.value} again=${start} />` : null}
        ${problem ? html`<${Problem} problem=${problem} again=${() => location.reload()} />` : null}
        ${!route ? html`<${Missing} />` : module && isKnown.value ? html`<${module.default} key=${path.value} params=${params} query=${query.value} />` : problem || startProblem.value ? null : html`<${Loading} />`}
      </main>
    </div>
    <${Beside} />
    <${Keys} />`;
}

/** A host, or those of a group, over whatever page it was opened from. */
function Beside() {
  const [module, setModule] = useState(/** @type {any} */ (null));
  const { host = "", hosts = "" } = query.value;
  const is_open = isKnown.value && (host || hosts).includes("/");
  useEffect(() => { if (is_open && !module) import("./panel.js").then((found) => setModule(() => found), () => {}); }, [is_open]);
  return is_open && module ? html`<${module.Panel} host=${host} hosts=${hosts} />` : null;
}

function Missing() {
  return html`<div class="empty"><h2>There is no such page</h2><p><a href="/">The fleet</a> has every application.</p></div>`;
}

function Navigation() {
  const [is_open, setOpen] = useState(false);
  const at = path.value;
  useEffect(() => setOpen(false), [at]);
  const links = (/** @type {string} */ part) => routes.filter((each) => each.nav === part).map((each) => html`<a key=${each.path} href=${each.path} aria-current=${is_here(each.path, at) ? "page" : undefined}><${Icon} name=${each.icon ?? ""} />${each.title}</a>`);
  return html`<header class=${`nav ${is_open ? "is-open" : ""}`}>
    <div class="nav-head"><a class="mark" href="/" aria-label="repave, the fleet"><${Mark} />repave</a>
      <${Linked} />
      <button type="button" class="quiet fold" aria-expanded=${is_open} aria-controls="nav" onClick=${() => setOpen(!is_open)}><${Icon} name="menu" /><span class="sr">Menu</span></button></div>
    <nav id="nav" aria-label="Screens"><div class="nav-part">${links("main")}</div><div class="nav-part">${links("tools")}</div></nav>
    <div class="nav-foot"><${Connection} /><${Person} /><${Theme} /></div>
  </header>`;
}

/** @param {string} path
 * @param {string} at */
function is_here(path, at) { return path === "/" ? at === "/" || at.startsWith("/apps/") : at === path || at.startsWith(`${path}/`); }

function Connection() {
  const texts = /** @type {Record<string, string>} */ ({ live: "Live", lost: "Reconnecting", connecting: "Connecting", resting: "Resting" });
  return html`<span class=${`connection is-${connection.value}`} role="status"><span class="dot" aria-hidden="true"></span>${texts[connection.value]}</span>`;
}

/** The same while the menu is folded. */
function Linked() {
  const is_live = connection.value === "live";
  return html`<span class=${`linked is-${connection.value}`} aria-hidden="true"><span class="dot"></span>${is_live ? "Live" : connection.value === "lost" ? "Reconnecting" : ""}</span>`;
}

function Person() {
  const person = who.value;
  if (!person || person.kind === "local") return null;
  const leave = async () => {
    try { await post("logout", {}); } catch (problem) {
      if (/** @type {{status?: number}} */ (problem).status !== 401) return void (startProblem.value = problem); // the cookie is still good
    }
    who.value = null;
    isKnown.value = false;
    navigate("/login");
  };
  return html`<span class="person"><span class="who" title=${person.name}>${person.name}</span><button type="button" class="quiet" onClick=${leave}>Log out</button></span>`;
}

function Theme() {
  void themed.value; // drawn anew when it changes
  const root = document.documentElement, is_dark = root.dataset.theme === "dark";
  const turn = () => {
    root.dataset.chosen = root.dataset.theme = is_dark ? "light" : "dark";
    try { localStorage.setItem("repave-theme", root.dataset.chosen); } catch { /* storage is off */ }
    themeChanged();
  };
  return html`<button type="button" class="quiet theme" onClick=${turn} aria-label=${is_dark ? "Use light colours" : "Use dark colours"}><${Icon} name=${is_dark ? "light" : "dark"} /></button>`;
}

/** Said aloud only if it lasts: most losses are over in a second. */
function Lost() {
  if (connection.value !== "lost") return null;
  return html`<div class="banner is-late tone-calm" role="status"><span><strong>No connection to the controller.</strong> What you see may be old; it goes on by itself.</span></div>`;
}

function Frozen() {
  const frozen = topic("shell").value?.frozen;
  if (!frozen) return null;
  return html`<div class="banner tone-warn" role="status"><${Icon} name="snow" /><span><strong>Everything is frozen</strong> by ${frozen.by || "an operator"}, <${Ago} at=${frozen.at} />${frozen.reason ? `: ${frozen.reason}` : ""}</span><a href="/safety">Safety</a></div>`;
}

function Keys() {
  const [is_open, setOpen] = useState(false);
  const [is_going, setGoing] = useState(false);
  useKeys({
    "?": () => setOpen(true),
    "/": () => { const found = /** @type {HTMLElement | null} */ (document.querySelector("[data-search]")); if (found) found.focus(); else navigate("/"); },
    g: () => { setGoing(true); setTimeout(() => setGoing(false), 1500); },
    ...(is_going ? Object.fromEntries(Object.entries(GOES).map(([key, to]) => [key, () => { setGoing(false); navigate(to); }])) : {}),
  });
  if (!is_open) return null;
  return html`<${Confirm} title="Keys" verb="Close" act=${async () => {}} close=${() => setOpen(false)}><dl class="keys">${KEYS.map(([key, text]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`)}</dl><//>`;
}

async function start() {
  startProblem.value = null;
  try {
    await recognise();
    isKnown.value = true;
    returned();
  } catch (problem) {
    if (/** @type {{status?: number}} */ (problem).status === 401) toLogin();
    else startProblem.value = problem;
  }
}

function toLogin() {
  isKnown.value = false;
  if (path.peek() !== "/login") navigate(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

onDenied(toLogin);
begin();
addEventListener("repave-login", start);
const root = document.getElementById("app");
if (root) { root.replaceChildren(); render(html`<${App} />`, root); }
if (path.peek() !== "/login") start();
