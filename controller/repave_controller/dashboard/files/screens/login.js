// @ts-check
// Who are you: with the company's log-in, or with a token.

import { get, post } from "../api.js";
import { Button, Problem } from "../parts.js";
import { navigate } from "../router.js";
import { html, useEffect, useState } from "../vendor/preact.js";

/** @param {import("../routes.js").ScreenProps} props */
export default function Login({ query }) {
  const [ways, setWays] = useState(/** @type {any} */ (null));
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const next = /^\/(?!\/)/.test(query.next ?? "") ? /** @type {string} */ (query.next) : "/";
  useEffect(() => { get("login").then(setWays, setProblem); }, []);
  const enter = async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      await post("login/session", { token: token.trim() });
      dispatchEvent(new Event("repave-login"));
      navigate(next);
    } catch (error) { setProblem(error); }
  };
  return html`<div class="login"><h1>Log in to repave</h1>
    ${ways?.browser ? html`<a class="button" href="/v1/login/oidc">Continue with ${new URL(ways.issuer).host}</a>` : null}
    <form onSubmit=${enter}><label class="field"><span>Token</span><input type="password" value=${token} onInput=${(/** @type {any} */ event) => setToken(event.target.value)} autocomplete="off" required /></label>
    <${Problem} problem=${problem} /><${Button} type="submit" kind="primary" onClick=${() => {}}>Log in<//></form>
  </div>`;
}
