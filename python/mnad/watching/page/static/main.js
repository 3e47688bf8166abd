// Puts the page together: asks for the streams once a second, and says how all of it is.

import { ask, Refused, repeat, Unreachable } from "./api.js";
import { AddDialog, RemoveDialog } from "./dialogs.js";
import { Events } from "./events.js";
import { Streams } from "./streams.js";
import { clockText, overallOf, setState, setText } from "./words.js";

const EVERY = 1000;
const TITLE = document.title;

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const overall = document.getElementById("overall");
let answered = null;

const page = {
  say: (text) => setText(document.getElementById("said"), text),
  remove: (name) => removing.ask(name),
  refresh: () => refresh(),
};

const removing = new RemoveDialog(() => refresh());
const streams = new Streams(page);
const events = new Events(page);
new AddDialog(async (name) => {
  await show();
  streams.focus(name);
});

function tell(state) {
  setState(overall.querySelector("use"), overall.querySelector("span"), state);
  const title = ["abnormal", "trouble"].includes(state.kind) ? `${state.words} – ${TITLE}` : TITLE;
  if (document.title !== title) document.title = title;
}

async function show() {
  const asked = performance.now();
  try {
    const answer = await ask("/api/streams");
    streams.update(answer.streams, asked);
    events.offer(answer.streams.map(({ name }) => name));
    tell(overallOf(answer.streams));
    answered = Date.now() / 1000;
    setText(banner, "");
  } catch (error) {
    tellFault(error);
  }
  main.classList.toggle("stale", banner.textContent !== "");
}

function tellFault(error) {
  const seen = answered === null ? "" : ` This is how it was at ${clockText(answered)}.`;
  const lost = error instanceof Unreachable;
  setText(banner, lost ? `${error.message}${seen} Trying again…` : error.message);
  tell({ icon: "trouble", words: lost ? "Server not reached" : "Not shown", kind: "trouble" });
  if (!lost && !(error instanceof Refused)) console.error(error);
}

const refresh = repeat(show, EVERY);
