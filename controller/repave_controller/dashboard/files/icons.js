// @ts-check
// The few icons, each a path of 16 by 16.

import { html } from "./vendor/preact.js";

/** @type {Record<string, string>} */
const PATHS = {
  fleet: "M2 3.5h12M2 8h12M2 12.5h12M5 2v3M10 6.5v3M7 11v3",
  regions: "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5ZM1.75 8h12.5M8 1.75c2 2 2.5 4 2.5 6.25S10 12.25 8 14.25c-2-2-2.5-4-2.5-6.25S6 3.75 8 1.75Z",
  queue: "M3 3h10v3H3zM3 8h7M3 11h7M3 14h4",
  events: "M3 2v12M3 4h3M3 8h3M3 12h3M8 4h5M8 8h5M8 12h3",
  safety: "M8 1.75 13 3.5v4c0 3.25-2 5.5-5 6.75-3-1.25-5-3.5-5-6.75v-4Z",
  ages: "M8 1.75a6.25 6.25 0 1 0 0 12.5 6.25 6.25 0 0 0 0-12.5ZM8 4.5V8l2.5 1.5",
  plan: "M4 1.75h5.5L13 5.25v9H4zM9.5 1.75v3.5H13M6.5 8h4M6.5 11h4",
  simulate: "M6 1.75h4M7 1.75v4L3 13.5c0 .5.25.75.75.75h8.5c.5 0 .75-.25.75-.75L9 5.75v-4M4.75 10.5h6.5",
  access: "M10.5 1.75a3.75 3.75 0 1 0 0 7.5 3.75 3.75 0 0 0 0-7.5ZM7.75 8.25l-6 6M3.5 12.5l1.75 1.75",
  api: "m5 4-3.25 4L5 12M11 4l3.25 4L11 12M9 3 7 13",
  menu: "M2 4h12M2 8h12M2 12h12",
  light: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  dark: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z",
  snow: "M8 1.5v13M2.5 4.75l11 6.5M13.5 4.75l-11 6.5M6 2.5l2 1.75 2-1.75M6 13.5l2-1.75 2 1.75",
};

/** @param {{name: string}} props */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d=${PATHS[name] ?? ""} /></svg>`;
}

/** The old lane and the new one.
 * @param {{size?: number}} props */
export function Mark({ size = 20 }) {
  return html`<svg class="mark-sign" viewBox="0 0 20 20" width=${size} height=${size} aria-hidden="true"><path class="lane-old" d="M3.6 3h3.2L5.6 17H1.8z" /><path class="lane-new" d="M13.2 3h3.2l1.8 14h-3.8z" /><path class="lane-line" d="M9.3 3h1.4v3H9.3zm-.2 5.5h1.8v3H9.1zM9 14h2v3H9z" /></svg>`;
}
