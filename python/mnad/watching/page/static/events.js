// The list of events, the newest first. It follows the server without moving what somebody reads.

import { ask, picturePath, repeat, Unreachable } from "./api.js";
import { Viewer } from "./viewer.js";
import { counted, durationText, eventStateOf, fromTemplate, peakText, setAttribute, setOptional, setState, setText, timeText } from "./words.js";

const EVERY = 2000; // milliseconds
const PAGE = 30;
const MOST = 600; // rows, whatever was asked for
const READS = 10_000; // milliseconds, for so long after a move somebody reads
const SETTLES = 300; // seconds after its end in which an event's clip may yet come

export class Events {
  constructor(page) {
    this.page = page;
    const names = ["list", "scroller", "filter", "older", "above", "no-events", "events-fault"];
    this.parts = Object.fromEntries(names.map((name) => [name, document.getElementById(name)]));
    this.rows = new Map(); // by number, the newest first
    this.wanted = PAGE;
    this.fresh = true; // until the first answer
    this.loading = null;
    this.kept = 0; // new events above what is read
    this.home = this.away = 0; // where the list was scrolled to, and where it was kept
    this.touched = -READS;
    this.turn = 0;
    this.viewer = new Viewer(this);
    this.listen();
    this.refresh = repeat(() => this.poll(), EVERY);
  }

  get list() {
    return this.parts.list;
  }

  listen() {
    const { older, above, filter, list } = this.parts;
    older.addEventListener("click", () => this.loadOlder());
    above.addEventListener("click", () => {
      this.goHome();
      list.querySelector("button")?.focus();
    });
    filter.addEventListener("change", () => this.restart());
    for (const type of ["pointermove", "keydown", "focusin", "wheel", "touchmove"]) {
      list.addEventListener(type, () => (this.touched = performance.now()), { passive: true });
    }
  }

  restart() {
    for (const { root } of this.rows.values()) root.remove();
    this.rows.clear();
    this.wanted = PAGE;
    this.fresh = true;
    this.goHome();
    this.refresh();
  }

  // The streams that events can be filtered by: those that there are, and those that there were.
  offer(names) {
    const { filter } = this.parts;
    const known = new Set([...filter.options].map(({ value }) => value));
    for (const name of names) if (!known.has(name)) filter.add(new Option(name, name));
  }

  query(more) {
    const stream = this.parts.filter.value;
    return ask(`/api/events?${new URLSearchParams({ ...more, ...(stream && { stream }) })}`);
  }

  async poll() {
    const stream = this.parts.filter.value;
    try {
      const { events } = await this.query({ limit: PAGE });
      if (stream !== this.parts.filter.value) return;
      this.take(events);
      await this.askForOneThatIsUnsettled(events);
      setText(this.parts["events-fault"], "");
    } catch (error) {
      // Of a server that is not reached, the banner tells.
      if (!(error instanceof Unreachable)) setText(this.parts["events-fault"], error.message);
    }
    this.viewer.update();
  }

  take(events) {
    const numbers = [...this.rows.keys()];
    const lowest = events.at(-1)?.number ?? -1;
    const known = events.some(({ number }) => this.rows.has(number));
    if (numbers.length > 0 && !known && events.length === PAGE) this.clear(); // too much was missed
    const among = new Set(events.map(({ number }) => number));
    const full = events.length === PAGE;
    for (const [number, { root }] of this.rows) {
      if (among.has(number) || (full && number < lowest)) continue;
      root.remove(); // it was too old, or the list has come to its end
      this.rows.delete(number);
    }
    const fresh = events.filter(({ number }) => !this.rows.has(number));
    for (const event of events) if (this.rows.has(event.number)) this.fill(this.rows.get(event.number), event);
    const newest = Math.max(-1, ...this.rows.keys());
    this.putAbove(fresh.filter(({ number }) => number > newest));
    if (this.fresh) this.parts.older.hidden = !full;
    this.fresh = false;
    this.trim();
    this.offer(fresh.map(({ stream }) => stream));
    this.parts["no-events"].hidden = this.rows.size > 0;
  }

  clear() {
    for (const { root } of this.rows.values()) root.remove();
    this.rows.clear();
    this.wanted = PAGE;
    this.parts.older.hidden = false;
  }

  putAbove(events) {
    if (events.length === 0) return;
    const rows = events.map((event) => [event.number, this.rowOf(event)]);
    const insert = () => this.list.prepend(...rows.map(([, { root }]) => root));
    if (this.isRead()) this.keepPlace(insert, events.length);
    else insert();
    this.rows = new Map([...rows, ...this.rows]);
    if (!this.fresh) this.announce(events);
  }

  announce([newest, ...others]) {
    const more = others.length > 0 ? `, and ${others.length} more` : "";
    this.page.say(`New event: ${newest.stream}, ${timeText(newest.began)}, ${peakText(newest)}${more}`);
  }

  // On a narrow page the list is a part of it, on a wide one it has a bar of its own.
  get scrolled() {
    const { scroller } = this.parts;
    return getComputedStyle(scroller).overflowY === "auto" ? scroller : document.scrollingElement;
  }

  isRead() {
    const top = this.scrolled === this.parts.scroller ? this.scrolled.getBoundingClientRect().top : 0;
    const gone = this.list.getBoundingClientRect().top < top - 1;
    return this.rows.size > 0 && (gone || performance.now() - this.touched < READS);
  }

  keepPlace(insert, count) {
    const { scrolled, list } = this;
    const before = scrolled.scrollTop;
    const anchor = list.firstElementChild;
    const top = anchor.getBoundingClientRect().top;
    insert();
    const moved = anchor.getBoundingClientRect().top - top;
    const room = scrolled.scrollHeight - scrolled.clientHeight - before;
    if (room < moved) this.parts.scroller.style.paddingBottom = `${scrolled.clientHeight}px`;
    if (this.kept === 0 || before !== this.away) this.home = before;
    scrolled.scrollTo({ top: before + moved, behavior: "instant" });
    this.away = scrolled.scrollTop;
    this.kept += count;
    this.tellAbove();
  }

  tellAbove() {
    setText(this.parts.above, `↑ ${this.kept} new`);
    setAttribute(this.parts.above, "aria-label", `Show ${counted(this.kept, "new event")}`);
    this.parts.above.hidden = this.kept === 0;
  }

  // What was kept away from who reads comes into view when nobody does, or has scrolled up to it.
  comeBack() {
    if (this.scrolled.scrollTop < 2) this.parts.scroller.style.paddingBottom = "";
    if (this.kept === 0) return;
    const idle = performance.now() - this.touched > READS && !this.viewer.isOpen;
    const first = this.list.firstElementChild;
    const seen = first !== null && first.getBoundingClientRect().bottom > this.parts.scroller.getBoundingClientRect().top + 8;
    if (seen && this.scrolled === this.parts.scroller) this.goHome(false);
    else if (idle && Math.abs(this.scrolled.scrollTop - this.away) < 2) this.goHome();
  }

  goHome(move = true) {
    const { scrolled } = this;
    if (move && this.kept > 0) scrolled.scrollTop = scrolled === this.parts.scroller ? 0 : this.home;
    if (move) this.parts.scroller.style.paddingBottom = "";
    this.kept = 0;
    this.tellAbove();
  }

  // Rows beyond what was asked for go, but none that is seen, or has the focus, or is above one.
  trim() {
    for (const [number, { root }] of [...this.rows].reverse()) {
      const extra = this.rows.size > this.wanted;
      const seen = root.getBoundingClientRect().top < innerHeight && this.rows.size <= MOST;
      if (!extra || seen || root.contains(document.activeElement) || number === this.viewer.number) break;
      root.remove();
      this.rows.delete(number);
      this.parts.older.hidden = false;
    }
    this.comeBack();
  }

  // An event below the newest page may yet end, or get its clip.
  async askForOneThatIsUnsettled(newest) {
    const asked = new Set(newest.map(({ number }) => number));
    const now = Date.now() / 1000;
    const unsettled = [...this.rows.values()].map(({ event }) => event).filter((event) =>
      !asked.has(event.number) && (event.state === "open" || (event.clip === null && now - event.ended < SETTLES)));
    if (unsettled.length === 0) return;
    const { number } = unsettled[this.turn++ % unsettled.length];
    const [event] = (await this.query({ before: number + 1, limit: 1 })).events;
    if (event !== undefined && this.rows.has(event.number)) this.fill(this.rows.get(event.number), event);
  }

  // Returns whether there were any.
  async loadOlder() {
    if (this.loading !== null) return this.loading;
    this.loading = this.askForOlder();
    try {
      return await this.loading;
    } catch (error) {
      setText(this.parts["events-fault"], error.message);
      return false;
    } finally {
      this.loading = null;
    }
  }

  async askForOlder() {
    const before = Math.min(...this.rows.keys());
    const stream = this.parts.filter.value;
    const { events } = await this.query({ limit: PAGE, ...(Number.isFinite(before) && { before }) });
    if (stream !== this.parts.filter.value) return false;
    const added = events.filter(({ number }) => !this.rows.has(number)).map((event) => [event.number, this.rowOf(event)]);
    this.list.append(...added.map(([, { root }]) => root));
    for (const [number, row] of added) this.rows.set(number, row);
    this.wanted = Math.min(this.rows.size, MOST);
    const { older } = this.parts;
    const focused = document.activeElement === older;
    older.hidden = events.length < PAGE;
    if (focused && added.length > 0) added[0][1].root.querySelector("button").focus();
    return added.length > 0;
  }

  rowOf(event) {
    const { root, parts } = fromTemplate("event-template");
    const row = { root, parts, event };
    root.querySelector("button").addEventListener("click", () => this.viewer.open(row.event));
    parts.picture.addEventListener("error", () => (parts.picture.hidden = true));
    this.fill(row, event);
    return row;
  }

  fill(row, event) {
    const { root, parts } = row;
    row.event = event;
    root.dataset.id = event.id;
    const state = eventStateOf(event);
    setState(parts.icon, parts.state, state);
    setText(parts.stream, event.stream);
    setText(parts.began, timeText(event.began));
    parts.began.dateTime = event.began_at;
    setText(parts.duration, durationText(event));
    setText(parts.peak, peakText(event));
    setOptional(parts.zone, event.zone && `zone ${event.zone}`);
    setOptional(parts.note, event.note);
    const source = picturePath(event);
    if (row.source === source) return;
    row.source = source;
    parts.picture.hidden = source === "";
    if (source !== "") parts.picture.src = source;
  }

  // The event beside another one: by -1 the newer, by 1 the older; null if there is none.
  beside(number, by) {
    const numbers = [...this.rows.keys()];
    const row = this.rows.get(numbers[numbers.indexOf(number) + by]);
    return numbers.includes(number) && row !== undefined ? row.event : null;
  }

  focus(number) {
    this.rows.get(number)?.root.querySelector("button").focus();
  }
}
