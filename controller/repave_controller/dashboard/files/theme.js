// Chooses light or dark before the first paint, and when the system changes: what the person chose, else what that says.
{
  const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
  try { root.dataset.chosen = localStorage.getItem("repave-theme") ?? ""; } catch { /* storage is off */ }
  const show = () => { root.dataset.theme = root.dataset.chosen || (system.matches ? "dark" : "light"); };
  show();
  system.addEventListener("change", show);
}
