// What the page shows of one stream.

import { ask, streamPath } from "./api.js";
import { Curve } from "./curve.js";
import { Picture } from "./picture.js";
import { Threshold } from "./threshold.js";
import {
  fromTemplate, milliseconds, scoreText, setAttribute, setOptional, setState, setText, stateOf,
} from "./words.js";

export class Card {
  // `page` says what is heard, asks before a stream is removed, and asks the server for all streams anew.
  constructor(name, page) {
    this.name = name;
    this.page = page;
    const { root, parts } = fromTemplate("card-template");
    this.root = root;
    this.parts = parts;
    this.changing = 0;
    this.changed = -Infinity;
    this.state = null;
    root.setAttribute("aria-label", name);
    root.dataset.stream = name;
    setText(parts.name, name);
    this.listen();
  }

  // Charts measure their place, so the card must be on the page.
  open() {
    const { name, parts } = this;
    this.picture = new Picture(name, parts);
    this.curve = new Curve(parts.curve);
    this.threshold = new Threshold(name, parts, (value) => this.curve.show(value), (body) => this.change(body));
  }

  listen() {
    const { parts } = this;
    parts.pause.addEventListener("click", () => this.change({ paused: parts.pause.dataset.does === "pause" }));
    parts.accept.addEventListener("click", async () => {
      await this.change({ accept_view: true });
      if (parts.accept.hidden) parts.name.focus();
    });
    parts.remove.addEventListener("click", () => this.page.remove(this.name));
    parts.remove.setAttribute("aria-label", `Remove ${this.name}`);
  }

  async change(body) {
    this.changing++;
    let stream = null;
    try {
      stream = await ask(streamPath(this.name), "PATCH", body);
      setText(this.parts.fault, "");
    } catch (error) {
      setText(this.parts.fault, error.message);
    } finally {
      this.changing--;
      this.changed = performance.now();
    }
    if (stream !== null) this.update(stream, this.changed);
    this.page.refresh();
  }

  // Shows a stream, unless it was asked for before the last change was made.
  update(stream, asked) {
    if (this.changing > 0 || asked < this.changed) return;
    this.showState(stream);
    this.showNumbers(stream);
    this.curve.update(stream);
    this.threshold.update(stream);
    this.picture.update(stream);
  }

  showState(stream) {
    const { parts, root, name } = this;
    const state = stateOf(stream);
    const was = this.state;
    this.state = state;
    root.dataset.kind = state.kind;
    setState(parts.icon, parts.state, state);
    setOptional(parts.why, stream.fault || (stream.condition === "moved" ? MOVED : ""));
    parts.accept.hidden = stream.condition !== "moved";
    const paused = stream.state === "paused";
    parts.pause.dataset.does = paused ? "resume" : "pause";
    setText(parts.pause, paused ? "Resume" : "Pause");
    setAttribute(parts.pause, "aria-label", `${paused ? "Resume" : "Pause"} ${name}`);
    parts.pause.hidden = stream.state === "ended";
    const news = was !== null && was.words !== state.words && [was.kind, state.kind].includes("trouble");
    if (news) this.page.say(`${name}: ${state.words.toLowerCase()}`);
  }

  showNumbers(stream) {
    const { parts } = this;
    const { frames, latency } = stream;
    setText(parts.score, scoreText(stream.score));
    const of = `of ${+stream.model_rate.toPrecision(3)} frames/s`;
    const rate = stream.rate === null ? "–" : stream.rate.toPrecision(3);
    setText(parts.rate, `${stream.slow ? "slow: " : ""}${rate} ${of}`);
    parts.rate.classList.toggle("slow", stream.slow);
    const known = frames.scored > 0;
    setText(parts.latency, known ? `${milliseconds(latency.p50)} / ${milliseconds(latency.p95)} ms` : "–");
    const more = stream.unreadable > 0 ? `, ${stream.unreadable.toLocaleString()} unreadable` : "";
    setText(parts.frames, `${frames.dropped.toLocaleString()} of ${frames.read.toLocaleString()} frames${more}`);
    const held = stream.held_back > 0 ? `, ${stream.held_back.toLocaleString()} held back` : "";
    setText(parts.events, `${stream.events.toLocaleString()}${held}`);
  }

  close() {
    this.picture.close();
    this.curve.close();
    this.root.remove();
  }
}

const MOVED = "Its alarms are held back until the old view is back, or this one is accepted.";
