// @ts-check
// Asks the API for what changes: one request at a time, whatever comes meanwhile, and none more often than can be read.

export const SPARE_MS = 2000;

/** Of one place that shows what `load` gives.
 * @template Data
 * @param {() => Promise<Data>} load
 * @param {(data: Data) => void} give
 * @param {(problem: unknown) => void} fail
 * @returns {{ask: () => void, soon: () => void, end: () => void}} `ask` now; `soon`: not before SPARE_MS after the last time; nothing is given after `end` */
export function asker(load, give, fail) {
  let is_busy = false, is_late = false, is_over = false, timer = 0, begun = 0;
  const ask = () => {
    clearTimeout(timer);
    timer = 0;
    if (is_busy) { is_late = true; return; }
    is_busy = true;
    begun = Date.now();
    load().then(
      (data) => { if (!is_over) give(data); },
      (problem) => { if (!is_over) fail(problem); },
    ).finally(() => {
      is_busy = false;
      if (is_late) soon();
      is_late = false;
    });
  };
  const soon = () => {
    if (is_over || timer) return;
    if (is_busy) { is_late = true; return; }
    timer = setTimeout(ask, Math.max(0, begun + SPARE_MS - Date.now()));
  };
  return { ask, soon, end: () => { is_over = true; clearTimeout(timer); } };
}
