// @ts-check
// Every screen: its path, where its module is, and how the navigation calls it.

/** @typedef {{params: Record<string, string>, query: Record<string, string>}} ScreenProps */
/** @typedef {(params: Record<string, string>, query: Record<string, string>) => string[]} Topics */
/** @typedef {{default: import("./vendor/preact.js").FunctionComponent<ScreenProps>, topics?: Topics}} Screen */
/** @typedef {{path: string, load: () => Promise<unknown>, title: string, nav?: string, icon?: string, open?: boolean}} Route
 * `title`: of the tab; words in braces are parameters. `nav`: the part of the navigation that lists it. `open`: without a log-in. */

/** @type {Route[]} */
export const routes = [
  { path: "/", load: () => import("./screens/fleet.js"), title: "Fleet", nav: "main", icon: "fleet" },
  { path: "/apps/:app", load: () => import("./screens/application.js"), title: "{app}" },
  { path: "/apps/:app/rollouts/:id", load: () => import("./screens/rollout.js"), title: "{app} rollout {id}" },
  { path: "/regions", load: () => import("./screens/regions.js"), title: "Regions", nav: "main", icon: "regions" },
  { path: "/regions/:region", load: () => import("./screens/region.js"), title: "{region}" },
  { path: "/hosts/:region/:host", load: () => import("./screens/host.js"), title: "{host}" },
  { path: "/queue", load: () => import("./screens/queue.js"), title: "Queue", nav: "main", icon: "queue" },
  { path: "/events", load: () => import("./screens/events.js"), title: "Events", nav: "main", icon: "events" },
  { path: "/safety", load: () => import("./screens/safety.js"), title: "Safety", nav: "main", icon: "safety" },
  { path: "/ages", load: () => import("./screens/ages.js"), title: "Ages", nav: "main", icon: "ages" },
  { path: "/plan", load: () => import("./screens/plan.js"), title: "Plan", nav: "tools", icon: "plan" },
  { path: "/simulate", load: () => import("./screens/simulate.js"), title: "Simulate", nav: "tools", icon: "simulate" },
  { path: "/access", load: () => import("./screens/access.js"), title: "Access", nav: "tools", icon: "access" },
  { path: "/api", load: () => import("./screens/api.js"), title: "API", nav: "tools", icon: "api" },
  { path: "/login", load: () => import("./screens/login.js"), title: "Log in", open: true },
];
