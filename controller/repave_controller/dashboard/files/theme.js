// Chooses light or dark before the first paint: what the person chose, else what the system says.
{
  const root = document.documentElement;
  let chosen = null;
  try { chosen = localStorage.getItem("repave-theme"); } catch { /* storage is off */ }
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
}
