// @ts-check
// A host, or the hosts of a group in a region, beside the page that it was opened from; the page stays as it was.

import { get, part } from "./api.js";
import { topic } from "./live.js";
import { Loading, Problem, useLoaded } from "./parts.js";
import { setQuery } from "./router.js";
import { Host } from "./screens/host.js";
import { HostTable } from "./screens/region.js";
import { html, useEffect, useRef } from "./vendor/preact.js";

const HOSTS_SHOWN = 200;

/** @param {{host: string, hosts: string}} props each REGION/NAME, or "" */
export function Panel({ host, hosts }) {
  const [region = "", name = ""] = (host || hosts).split("/");
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const close = () => setQuery({ host: "", hosts: "" });
  useEffect(() => {
    const before = document.activeElement;
    place.current?.querySelector("h2")?.focus();
    return () => { if (before instanceof HTMLElement && before.isConnected) before.focus(); };
  }, []);
  const press = (/** @type {KeyboardEvent} */ event) => { if (event.key === "Escape" && !document.querySelector("dialog[open]")) close(); };
  return html`<aside class="side" ref=${place} aria-label=${host ? "Host" : "Hosts"} onKeyDown=${press}>
    <header class="side-head"><div><p class="crumbs"><a href=${`/regions/${part(region)}`}>${region}</a></p><h2 tabindex="-1">${name}</h2></div>
      <div class="actions">${host ? html`<a class="button" href=${`/hosts/${part(region)}/${part(name)}`}>Open as a page</a>` : null}<button type="button" onClick=${close}>Close<kbd aria-hidden="true">Esc</kbd></button></div></header>
    ${host ? html`<${Host} key=${host} region=${region} name=${name} />` : html`<${OfGroup} region=${region} group=${name} />`}
  </aside>`;
}

/** @param {{region: string, group: string}} props */
function OfGroup({ region, group }) {
  const there = topic(`region:${region}`).value?.items;
  const { data, problem, again } = useLoaded(() => get("hosts", { region, group }), [region, group], [there]);
  if (!data) return problem ? html`<${Problem} problem=${problem} again=${again} />` : html`<${Loading} />`;
  const silent = data.unreachable[region];
  return html`${silent ? html`<${Problem} problem=${{ detail: silent }} again=${again} />` : null}<${HostTable} rows=${data.items.slice(0, HOSTS_SHOWN)} />`;
}
