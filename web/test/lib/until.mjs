// Waiting for something to become true, with words for the case that it does not.

export const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Asks again and again until `ask` gives something true; an error counts as "not yet". */
export async function until(what, ask, { timeoutMs = 15_000, everyMs = 100 } = {}) {
  const deadline = Date.now() + timeoutMs;
  let last;
  for (;;) {
    try {
      last = await ask();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what} (last: ${words(last)})`);
    await pause(everyMs);
  }
}

function words(last) {
  if (last instanceof Error) return last.cause?.message ?? last.message;
  return JSON.stringify(last);
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
