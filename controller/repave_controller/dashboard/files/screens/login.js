// @ts-check
// Who are you: with the company's log-in, or with a token.

import { get, post } from "../api.js";
import { Mark } from "../icons.js";
import { Button, Problem } from "../parts.js";
import { leaveFor, navigate } from "../router.js";
import { html, useEffect, useState } from "../vendor/preact.js";

/** @param {import("../routes.js").ScreenProps} props */
export default function Login({ query }) {
  const [ways, setWays] = useState(/** @type {any} */ (null));
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const next = /^\/(?!\/)/.test(query.next ?? "") ? /** @type {string} */ (query.next) : "/";
  useEffect(() => { get("login").then(setWays, setProblem); }, []);
  const enter = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!token.trim() || busy) return;
    setBusy(true);
    setProblem(null);
    try {
      await post("login/session", { token: token.trim() });
      dispatchEvent(new Event("repave-login"));
      navigate(next);
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  };
  const host = ways?.issuer ? new URL(ways.issuer).host : "";
  return html`<div class="login">
    <${Mark} size=${32} />
    <h1>Log in to repave</h1>
    ${ways?.browser ? html`<a class="button is-primary" href="/v1/login/oidc" onClick=${() => leaveFor(next)}>Continue with ${host}</a><span class="or">or with a token</span>` : null}
    <form onSubmit=${enter}>
      <label class="field"><span>Token</span><input type="password" name="token" value=${token} onInput=${(/** @type {any} */ event) => setToken(event.target.value)} autocomplete="off" spellcheck=${false} required /></label>
      <${Problem} problem=${problem} />
      <${Button} type="submit" kind=${ways?.browser ? "" : "primary"} reason=${token.trim() ? "" : "paste a token first"} busy=${busy}>${busy ? "Asking" : "Log in"}<//>
      <p class="faint">An admin makes one: <code>repave tokens create NAME</code></p>
    </form>
  </div>`;
}
