// What is asked of the server, and how often.

const PATIENCE = 15_000; // milliseconds
const LONG_PATIENCE = 120_000; // until a model is loaded

export class Refused extends Error {}
export class Unreachable extends Error {}

export const streamPath = (name) => `/api/streams/${encodeURIComponent(name)}`;
export const filePath = (file) => `/api/events/${encodeURIComponent(file)}`;

// An event's picture, or nothing; while it goes on, its picture is made anew at each higher score.
export function picturePath({ picture, state, peak }) {
  return picture === null ? "" : `${filePath(picture)}?${state === "open" ? peak : "last"}`;
}

// The server's answer; an error of the two kinds above if there is none to use.
export async function request(path, options = {}) {
  const patience = options.method === "POST" ? LONG_PATIENCE : PATIENCE;
  let response;
  try {
    response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(patience), ...options });
  } catch {
    throw new Unreachable("The server cannot be reached.");
  }
  if (!response.ok) throw new Refused(await errorOf(response));
  return response;
}

export async function ask(path, method = "GET", body = undefined) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await request(path, { method, ...sent });
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch {
    throw new Unreachable("The server's answer was cut off.");
  }
}

async function errorOf(response) {
  try {
    return String((await response.json()).error);
  } catch {
    return `The server answered ${response.status} ${response.statusText}.`;
  }
}

// Does some work again and again, but not while nobody can see the page. Returns what does it at once.
export function repeat(work, every) {
  let timer = null;
  let running = false;
  let again = false;
  const run = async () => {
    clearTimeout(timer);
    again = running;
    if (running) return;
    running = true;
    try {
      await work();
    } finally {
      running = false;
      if (!document.hidden) timer = setTimeout(run, again ? 0 : every);
    }
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : run()));
  run();
  return run;
}
