// How values are said, and small helpers to put them on the page.

const CONDITIONS = {
  offline: "Offline",
  frozen: "Picture is frozen",
  black: "Picture is black",
  covered: "Camera is covered",
  switched: "Switched between day and night",
  moved: "Camera has moved",
  changed: "Scene has changed",
};
const STATES = {
  paused: { icon: "paused", words: "Paused", kind: "idle" },
  ended: { icon: "ended", words: "Ended", kind: "idle" },
  waiting: { icon: "waiting", words: "Waiting for pictures", kind: "idle" },
};
const EVENT_STATES = {
  open: { icon: "open", words: "going on", kind: "abnormal" },
  closed: { icon: "well", words: "over", kind: "idle" },
  "held back": { icon: "held", words: "held back", kind: "idle" },
};
const LIVE = ["rtsp", "http", "device"];
const MOST_NAMED = 3;

// A stream's state: an icon, words, and what kind of state that is.
export function stateOf(stream) {
  if (stream.state === "paused") return STATES.paused;
  if (stream.condition !== null) {
    return { icon: "trouble", words: CONDITIONS[stream.condition] ?? stream.condition, kind: "trouble" };
  }
  if (stream.state === "ended" && stream.fault) return { ...STATES.ended, kind: "trouble" };
  if (stream.state in STATES) return STATES[stream.state];
  if (stream.abnormal) return { icon: "abnormal", words: "Abnormal", kind: "abnormal" };
  return { icon: "well", words: "Watching", kind: "well" };
}

export const eventStateOf = (event) => EVENT_STATES[event.state] ?? { icon: "open", words: event.state, kind: "idle" };

// How all streams are.
export function overallOf(streams) {
  if (streams.length === 0) return { icon: "waiting", words: "No streams", kind: "idle" };
  const states = streams.map((stream) => ({ name: stream.name, ...stateOf(stream) }));
  const kind = ["abnormal", "trouble"].find((each) => states.some((state) => state.kind === each));
  if (kind !== undefined) {
    const ofNote = states.filter((state) => ["abnormal", "trouble"].includes(state.kind));
    const named = ofNote.slice(0, MOST_NAMED).map(({ name, words }) => `${name}: ${words.toLowerCase()}`);
    const more = ofNote.length - named.length;
    return { icon: kind, words: named.join(" · ") + (more > 0 ? ` · and ${more} more` : ""), kind };
  }
  const counts = ["paused", "ended", "waiting"].map((word) => [streams.filter(({ state }) => state === word).length, word]);
  const idle = counts.filter(([count]) => count > 0);
  const watched = states.filter((state) => state.kind === "well").length;
  const noun = streams.every((stream) => LIVE.includes(stream.kind)) ? "camera" : "stream";
  const parts = [counted(streams.length, noun)];
  if (watched > 0) parts.push(idle.length > 0 ? `${watched} well` : streams.length === 1 ? "well" : "all well");
  for (const [count, word] of idle) parts.push(count === streams.length ? word : `${count} ${word}`);
  return watched > 0
    ? { icon: "well", words: parts.join(", "), kind: "well" }
    : { ...STATES[idle[0][1]], words: parts.join(", ") };
}

export const counted = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;

export function scoreText(score) {
  if (score === null || score === undefined) return "–";
  const size = Math.abs(score);
  return score.toFixed(size < 10 ? 3 : size < 100 ? 2 : 1).replace("-", "−");
}

export const milliseconds = (seconds) => (1000 * seconds).toFixed(0);

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });

export const clockText = (seconds) => clock.format(1000 * seconds);

// The same where there is little room.
export function tickText(seconds) {
  const parts = clock.formatToParts(1000 * seconds).filter(({ type }) => type !== "dayPeriod");
  return parts.map(({ value }) => value).join("").trim();
}

// A time of day; the day too, unless it is today.
export function timeText(seconds) {
  const time = new Date(1000 * seconds);
  return time.toDateString() === new Date().toDateString() ? clock.format(time) : `${day.format(time)}, ${clock.format(time)}`;
}

export function durationText({ duration, first, last }) {
  if (first === last) return "1 frame";
  if (duration < 59.95) return `${duration.toFixed(1)} s`;
  const whole = Math.round(duration);
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${seconds} s`;
}

export const peakText = ({ score, threshold }) => `score ${scoreText(score)}, threshold ${scoreText(threshold)}`;

// The elements of a template that have a name, by it.
export function partsOf(root) {
  return Object.fromEntries([...root.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));
}

export function fromTemplate(id) {
  const root = document.getElementById(id).content.firstElementChild.cloneNode(true);
  return { root, parts: partsOf(root) };
}

// Says a text, if it is another one: what stays is not touched.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setOptional(element, text) {
  setText(element, text);
  element.hidden = text === "";
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function setState(use, words, state) {
  setAttribute(use, "href", `#icon-${state.icon}`);
  setText(words, state.words);
  use.closest(".state").dataset.kind = state.kind;
}
