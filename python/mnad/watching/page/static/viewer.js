// The dialog that shows one event: its clip, or its picture while there is no clip yet.

import { filePath, picturePath } from "./api.js";
import { closable } from "./dialogs.js";
import { durationText, eventStateOf, partsOf, scoreText, setOptional, setState, setText, timeText } from "./words.js";

const KEYS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Viewer {
  constructor(events) {
    this.events = events;
    this.dialog = document.getElementById("viewer");
    this.parts = partsOf(this.dialog);
    this.event = null;
    this.source = "";
    closable(this.dialog);
    this.listen();
  }

  get isOpen() {
    return this.event !== null;
  }

  get number() {
    return this.event?.number ?? null;
  }

  listen() {
    const { dialog, parts } = this;
    parts.newer.addEventListener("click", () => this.move(-1));
    parts.older.addEventListener("click", () => this.move(1));
    dialog.addEventListener("keydown", (event) => {
      const other = event.ctrlKey || event.metaKey || event.altKey || event.shiftKey;
      if (other || !(event.key in KEYS) || event.target === parts.video) return; // a video seeks by arrows
      event.preventDefault();
      this.move(KEYS[event.key]);
    });
    dialog.addEventListener("close", () => {
      const { number } = this;
      this.event = null;
      this.load("", "");
      this.events.focus(number);
    });
  }

  open(event) {
    this.show(event);
    this.dialog.showModal();
    this.dialog.querySelector("[data-close]").focus();
  }

  async move(by) {
    const from = this.number;
    let event = this.events.beside(from, by);
    if (event === null && by > 0 && (await this.events.loadOlder())) event = this.events.beside(from, by);
    if (event !== null && this.number === from) this.show(event);
  }

  // Follows what becomes known of the event.
  update() {
    if (!this.isOpen) return;
    const row = this.events.rows.get(this.number);
    if (row !== undefined) this.show(row.event);
  }

  show(event) {
    const { parts, events } = this;
    this.event = event;
    this.dialog.dataset.id = event.id;
    setText(parts.title, `${event.stream}, ${timeText(event.began)}`);
    setState(parts.icon, parts.state, eventStateOf(event));
    this.load(event.clip === null ? "" : filePath(event.clip), picturePath(event));
    setOptional(parts.about, aboutOf(event));
    this.showFacts(event);
    for (const [name, by] of [["newer", -1], ["older", 1]]) {
      const none = events.beside(event.number, by) === null && (by < 0 || events.parts.older.hidden);
      parts[name].setAttribute("aria-disabled", String(none));
    }
  }

  showFacts(event) {
    const facts = [
      ["Began", timeText(event.began)],
      ["Lasted", durationText(event)],
      ["Highest score", `${scoreText(event.score)} at ${timeText(event.peak)}`],
      ["Threshold", scoreText(event.threshold)],
      ["Zone", event.zone],
      ["Note", event.note],
    ].filter(([, value]) => value !== "");
    const text = JSON.stringify(facts);
    if (text === this.facts) return;
    this.facts = text;
    this.parts.facts.replaceChildren(...facts.map(([name, value]) => {
      const [entry, term, detail] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      term.textContent = name;
      detail.textContent = value;
      entry.append(term, detail);
      return entry;
    }));
  }

  // Shows a clip, or else a picture; of neither, nothing.
  load(clip, picture) {
    const { video, picture: image, nothing, save } = this.parts;
    const source = clip || picture;
    if (source === this.source) return;
    this.source = source;
    video.pause();
    video.hidden = save.hidden = clip === "";
    if (clip === "") video.removeAttribute("src");
    else {
      video.src = save.href = clip;
      video.autoplay = !calm.matches;
    }
    video.load(); // it lets go of the clip before
    image.hidden = clip !== "" || picture === "";
    if (image.hidden) image.removeAttribute("src");
    else image.src = picture;
    image.alt = "The frame of the highest score";
    nothing.hidden = source !== "";
    if (clip !== "") video.setAttribute("aria-label", "Clip of the event");
  }
}

function aboutOf(event) {
  if (event.clip !== null) return "";
  if (event.state === "open") return "The event goes on; its clip comes once it is over.";
  return "There is no clip yet.";
}
