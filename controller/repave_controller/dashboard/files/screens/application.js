// @ts-check
// One application: what it does now.

import { topic } from "../live.js";
import { Loading, Page } from "../parts.js";
import { html } from "../vendor/preact.js";

/** @param {Record<string, string>} params */
export const topics = (params) => [`app:${params.app}`];

/** @param {import("../routes.js").ScreenProps} props */
export default function Screen({ params }) {
  const app = topic(`app:${params.app}`).value;
  return html`<${Page} title=${params.app} lead=${app?.text} crumbs=${[["Fleet", "/"]]}>${app ? null : html`<${Loading} />`}<//>`;
}
