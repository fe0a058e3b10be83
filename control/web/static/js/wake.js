// Keeps a phone's screen on while somebody waits or is in a visit: a locked phone loses its camera.

let wanted = false;
let lock = null;

document.addEventListener("visibilitychange", () => void hold());

/** @param keep whether the screen should stay on from now */
export function keepAwake(keep) {
  if (wanted === keep) return;
  wanted = keep;
  if (keep) void hold();
  else {
    void lock?.release().catch(() => undefined);
    lock = null;
  }
}

// Browsers take the lock back whenever the page is hidden.
async function hold() {
  if (!wanted || document.hidden || (lock && !lock.released)) return;
  lock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
  if (!wanted) void lock?.release().catch(() => undefined);
}
