// The threshold of a stream: a slider, and the rates of false alarms that its model is calibrated for.

import { scoreText, setAttribute, setText } from "./words.js";

const OWN = "own";
const FARTHEST = 4; // thresholds that the slider reaches at most, if scores are higher yet
const STEPS = 100; // at least

export class Threshold {
  // `show` is called with a threshold that is being chosen, null if none is any more; `change` makes it so.
  constructor(name, { slider, value, rates }, show, change) {
    Object.assign(this, { slider, value, rates, show, change });
    this.moving = this.sending = false;
    this.next = null;
    this.stream = null;
    this.low = this.high = 0;
    this.listed = "";
    slider.setAttribute("aria-label", `Threshold of ${name}`);
    rates.setAttribute("aria-label", `False alarms per hour of ${name}`);
    this.listen();
  }

  listen() {
    const { slider, rates } = this;
    slider.addEventListener("input", () => {
      this.moving = true;
      this.say(Number(slider.value));
      this.show(Number(slider.value));
    });
    slider.addEventListener("change", () => this.send({ threshold: Number(slider.value) }));
    // A slider that is dragged back to where it was tells of no change.
    for (const type of ["pointerup", "pointercancel", "blur"]) {
      slider.addEventListener(type, () => setTimeout(() => this.moving && !this.sending && this.rest()));
    }
    rates.addEventListener("change", () => this.send({ false_alarms_per_hour: Number(rates.value) }));
  }

  // Sends the newest choice once the one before has arrived.
  async send(body) {
    this.next = body;
    if (this.sending) return;
    this.sending = true;
    while (this.next !== null) {
      const sent = this.next;
      this.next = null;
      await this.change(sent);
    }
    this.sending = false;
    this.rest();
  }

  rest() {
    this.moving = false;
    this.show(null);
    this.update(this.stream);
  }

  say(threshold) {
    setText(this.value, scoreText(threshold));
    setAttribute(this.slider, "aria-valuetext", scoreText(threshold));
  }

  update(stream) {
    this.stream = stream;
    if (this.moving || this.sending) return;
    const { threshold, scores, calibrated } = stream;
    this.list(calibrated);
    this.reach(threshold, scores, calibrated);
    this.slider.value = String(threshold);
    this.say(threshold);
    this.choose(threshold, calibrated);
  }

  // Lets the slider reach all that makes sense; it never reaches less than before.
  reach(threshold, scores, calibrated) {
    const thresholds = [threshold, ...calibrated.map((each) => each.threshold)];
    const most = Math.max(...thresholds);
    const seen = scores.map(([, score]) => score);
    const high = 1.25 * Math.max(most, Math.min(Math.max(...seen), most > 0 ? FARTHEST * most : Infinity));
    const low = Math.min(0, ...seen, ...thresholds);
    if (low >= this.low && high <= this.high) return;
    const [least, greatest] = [Math.min(low, this.low), Math.max(high, this.high)];
    const step = 10 ** Math.floor(Math.log10((greatest - least || 1) / STEPS));
    this.low = step * Math.floor(least / step);
    this.high = step * Math.ceil(greatest / step);
    for (const [name, value] of [["min", this.low], ["max", this.high], ["step", step]]) {
      this.slider[name] = String(+value.toPrecision(12));
    }
  }

  list(calibrated) {
    const described = JSON.stringify(calibrated);
    if (described === this.listed) return;
    this.listed = described;
    const options = calibrated.map(({ false_alarms_per_hour: rate, threshold }) =>
      new Option(`${rate.toLocaleString()} (${scoreText(threshold)})`, String(rate)));
    const own = new Option("as the slider says", OWN);
    own.disabled = true;
    this.rates.replaceChildren(...options, own);
  }

  // Several rates may have one threshold: what was chosen stays chosen.
  choose(threshold, calibrated) {
    const fits = calibrated.filter((each) => each.threshold === threshold).map((each) => String(each.false_alarms_per_hour));
    if (fits.includes(this.rates.value)) return;
    this.rates.value = fits[0] ?? OWN;
  }
}
