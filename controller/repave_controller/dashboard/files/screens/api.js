// @ts-check
// The API, from the document that it serves itself: routes by subject, what they take and answer, a line to try them with.

import { get } from "../api.js";
import { Chip, Copy, Loading, Page, Problem, Search, Section, Tabs, useLoaded } from "../parts.js";
import { html } from "../vendor/preact.js";
import { counted } from "../words.js";

/** @typedef {Record<string, any>} Schema */
/** @typedef {{method: string, path: string, operation: Schema, subject: string}} Route */

const METHODS = ["get", "post", "put", "patch", "delete"];

/** @param {Schema} document
 * @returns {Route[]} */
function routesOf(document) {
  return Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(/** @type {Schema} */ (methods)).filter(([method]) => METHODS.includes(method)).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation, subject: operation.tags?.[0] ?? path.split("/")[2] ?? "api" })));
}

/** @param {import("../routes.js").ScreenProps} props */
export default function Api({ query }) {
  const { data, problem, again } = useLoaded(() => get("openapi.json"), []);
  if (!data) return html`<${Page} title="API">${problem ? html`<${Problem} problem=${problem} again=${again} />` : html`<${Loading} />`}<//>`;
  const words = (query.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const has = (/** @type {string} */ text) => words.every((word) => text.toLowerCase().includes(word));
  const routes = routesOf(data).filter((each) => has(`${each.method} ${each.path} ${each.subject} ${each.operation.summary ?? ""} ${each.operation.description ?? ""}`));
  const schemas = Object.entries(/** @type {Record<string, Schema>} */ (data.components?.schemas ?? {})).filter(([name, schema]) => has(`${name} ${schema.description ?? ""}`));
  const subjects = [...new Set(routes.map((each) => each.subject))];
  return html`<${Page} title="API" lead=${html`Everything that this dashboard and the command line do, they do with these ${counted(routesOf(data).length, "route")}. The whole document: <a href="/v1/openapi.json">/v1/openapi.json</a>, OpenAPI ${data.openapi}.`}>
    <div class="toolbar"><${Search} label="Search routes and schemas" /><span class="push"><${Tabs} name="view" label="View" options=${[["", "Routes"], ["schemas", "Schemas"], ["errors", "Errors"]]} /></span></div>
    ${query.view === "errors" ? html`<${Errors} document=${data} />` : query.view === "schemas" ? schemas.map(([name, schema]) => html`<${Model} key=${name} name=${name} schema=${schema} />`)
      : subjects.map((subject) => html`<${Section} key=${subject} title=${title(subject)}><div class="operations">${routes.filter((each) => each.subject === subject).map((each) => html`<${Operation} key=${each.method + each.path} route=${each} document=${data} />`)}</div><//>`)}
    ${(query.view === "schemas" ? schemas : routes).length || query.view === "errors" ? null : html`<p class="nothing">Nothing is called that.</p>`}
  <//>`;
}

/** @param {string} subject */
function title(subject) { return subject.slice(0, 1).toUpperCase() + subject.slice(1).replaceAll("-", " "); }

/** @param {{route: Route, document: Schema}} props */
function Operation({ route, document }) {
  const { method, path, operation } = route;
  const body = operation.requestBody?.content?.["application/json"];
  const answers = Object.entries(/** @type {Record<string, Schema>} */ (operation.responses ?? {})).filter(([status]) => status.startsWith("2"));
  const parameters = /** @type {Schema[]} */ (operation.parameters ?? []);
  return html`<details class="operation">
    <summary><span class=${`method is-${method.toLowerCase()}`}>${method}</span><code>${path}</code><span class="soft">${operation.summary ?? ""}</span></summary>
    <div class="operation-body">
      ${operation.description ? html`<p>${operation.description}</p>` : null}
      ${parameters.length ? html`<h3>Parameters</h3><dl class="fields">${parameters.map((each) => html`<${Field} key=${each.in + each.name} name=${each.name} schema=${each.schema ?? {}} text=${each.description} note=${`${each.in}${each.required ? ", required" : ""}`} />`)}</dl>` : null}
      ${body ? html`<h3>Body</h3><${Fields} schema=${body.schema} document=${document} /><${Example} content=${body} />` : null}
      ${answers.map(([status, answer]) => Object.entries(/** @type {Record<string, Schema>} */ (answer.content ?? {})).map(([media, content]) => html`<h3>Answer <span class="faint">${status}, ${media}</span></h3><${Fields} schema=${content.schema ?? {}} document=${document} /><${Example} content=${content} />`))}
      <h3>Try it</h3><${Copy} label="the line" text=${curl(route, body)} />
    </div>
  </details>`;
}

/** @param {Route} route
 * @param {Schema | undefined} body */
function curl({ method, path }, body) {
  const example = body?.example ?? Object.values(/** @type {Record<string, Schema>} */ (body?.examples ?? {}))[0]?.value;
  const sent = body ? ` -H 'Content-Type: application/json' -d '${JSON.stringify(example ?? {}).replaceAll("'", "'\\''")}'` : "";
  return `curl -s${method === "GET" ? "" : ` -X ${method}`} -H "Authorization: Bearer $REPAVE_TOKEN"${sent} '${location.origin}${path}'`;
}

/** @param {{content: Schema}} props */
function Example({ content }) {
  const all = content.example !== undefined ? [content.example] : Object.values(/** @type {Record<string, Schema>} */ (content.examples ?? {})).map((each) => each.value);
  return all.length ? html`<pre class="sample" tabindex="0">${all.map((each) => JSON.stringify(each, null, 2)).join("\n\n")}</pre>` : null;
}

/** @param {{name: string, schema: Schema}} props */
function Model({ name, schema }) {
  return html`<${Section} title=${html`<span id=${name}>${name}</span>`}>${schema.description ? html`<p class="soft">${schema.description}</p>` : null}<${Fields} schema=${schema} document=${{}} /><//>`;
}

/** The fields of a schema, of the one that it names or lists.
 * @param {{schema: Schema, document: Schema}} props */
function Fields({ schema, document }) {
  const named = String(schema?.$ref ?? schema?.items?.$ref ?? "").split("/").pop() ?? "";
  const found = named ? document.components?.schemas?.[named] ?? {} : schema ?? {};
  const properties = Object.entries(/** @type {Record<string, Schema>} */ (found.properties ?? {}));
  return html`<div>${named ? html`<p class="soft"><a href=${`/api?view=schemas&q=${named}`}>${named}</a> ${found.description ?? ""}</p>` : properties.length ? null : html`<p class="soft">${typeOf(schema ?? {})}</p>`}
    ${properties.length ? html`<dl class="fields">${properties.map(([name, each]) => html`<${Field} key=${name} name=${name} schema=${each} text=${each.description} note=${found.required?.includes(name) ? "required" : ""} />`)}</dl>` : null}</div>`;
}

/** @param {{name: string, schema: Schema, text?: string, note?: string}} props */
function Field({ name, schema, text, note }) {
  return html`<div class="schema-field"><dt><code>${name}</code></dt><dd><span class="faint">${typeOf(schema)}${note ? `, ${note}` : ""}</span>${text ? html` <span>${text}</span>` : null}</dd></div>`;
}

/** A schema in a few words.
 * @param {Schema} schema
 * @returns {string} */
function typeOf(schema) {
  if (schema.$ref) return String(schema.$ref).split("/").pop() ?? "";
  if (schema.enum) return schema.enum.map(String).join(" or ");
  if (schema.const !== undefined) return String(schema.const);
  const many = schema.anyOf ?? schema.oneOf;
  if (many) return many.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {})}`;
  if (schema.type === "object" && typeof schema.additionalProperties === "object") return `object of ${typeOf(schema.additionalProperties)}`;
  const words = /** @type {Record<string, string>} */ ({ string: "text", integer: "whole number", boolean: "true or false", null: "null" });
  return words[schema.type] ?? schema.type ?? "anything";
}

/** What a no looks like. @param {{document: Schema}} props */
function Errors({ document }) {
  const problem = document.components?.schemas?.Problem;
  const kinds = /** @type {string[]} */ (problem?.properties?.type?.examples ?? problem?.properties?.rule?.examples ?? problem?.properties?.type?.enum ?? []);
  return html`<${Section} title="Errors"><p class="soft">Every no is a problem of RFC 9457, <code>application/problem+json</code>: <code>type</code> names its kind for programs, <code>detail</code> says it to people, <code>problems</code> has the places of a spec or a body that are wrong, <code>remedy</code> the command that helps.</p>
    <ul class="plain">${[["400", "the request can't be read"], ["401", "log in first"], ["403", "your roles don't allow it"], ["404", "no such thing"], ["409", "refused by a rule; nothing was changed"], ["412", "it has changed since you looked"], ["422", "the spec or the body is wrong, at the places it names"], ["503", "try again after Retry-After"]].map(([status, text]) => html`<li key=${status}><${Chip} phase="calm" text=${status} /> ${text}</li>`)}</ul>
    ${problem ? html`<${Fields} schema=${problem} document=${document} />` : null}
    ${kinds.length ? html`<ul class="plain">${kinds.map((each) => html`<li key=${each}><code>${each}</code></li>`)}</ul>` : null}<//>`;
}
