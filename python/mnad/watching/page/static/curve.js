// The curve of the last minute's scores, with the threshold.

import { scoreText, setAttribute, tickText } from "./words.js";

const SPAN = 60; // seconds
const GAP = 2; // seconds without a score that are shown as such,
const FRAMES = 5; // or, of a model of few frames a second, frames
const EDGE = 5; // seconds from either end where a time has no room
const FONT = "12px system-ui, sans-serif";
const SHRINK = 0.6; // the scale follows once the curve needs less of it

const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Curve {
  constructor(element) {
    this.element = element;
    this.times = [];
    this.scores = [];
    this.threshold = null;
    this.preview = null;
    this.top = this.bottom = 0;
    this.chart = new uPlot(this.options(), [this.times, this.scores], element);
    this.observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) this.chart.setSize({ width: element.clientWidth, height: element.clientHeight });
    });
    this.observer.observe(element);
    this.recolour = () => this.chart.redraw(false, true);
    dark.addEventListener("change", this.recolour);
  }

  options() {
    const axis = {
      font: FONT,
      stroke: () => colour("--quiet"),
      grid: { stroke: () => colour("--rule"), width: 1 },
      ticks: { show: false },
    };
    return {
      width: this.element.clientWidth || 300,
      height: this.element.clientHeight || 110,
      legend: { show: false },
      cursor: { show: false },
      padding: [6, 10, 0, 0],
      scales: { x: { range: () => this.span() }, y: { range: () => [this.bottom, this.top] } },
      axes: [
        { ...axis, size: 22, gap: 4, incrs: [15, 30, 60], space: 64, values: (_, ticks) => this.ticks(ticks) },
        { ...axis, size: 44, gap: 4, space: 26, values: (_, ticks) => ticks.map((tick) => String(+tick.toPrecision(4))) },
      ],
      series: [{}, { stroke: () => colour("--line"), width: 2, points: { show: false } }],
      hooks: { drawClear: [(chart) => this.shade(chart)], draw: [(chart) => this.mark(chart)] },
    };
  }

  span() {
    const newest = this.times.at(-1) ?? Date.now() / 1000;
    return [newest - SPAN, newest];
  }

  ticks(times) {
    const [first, last] = this.span();
    return times.map((time) => (time - first < EDGE - 2 || last - time < EDGE ? "" : tickText(time)));
  }

  update({ name, scores, threshold, score, model_rate: rate }) {
    this.take(scores, Math.max(GAP, FRAMES / rate));
    this.threshold = threshold;
    this.draw();
    const now = `now ${scoreText(score)}, threshold ${scoreText(threshold)}`;
    setAttribute(this.element, "aria-label", `Scores of ${name} in the last minute: ${now}`);
  }

  // Takes the scores that are new: the server keeps fewer than are shown.
  take(scores, gap) {
    const newest = scores.at(-1)?.[0] ?? Infinity;
    if (newest < this.times.at(-1)) this.times.length = this.scores.length = 0;
    for (const [time, score] of scores) {
      const last = this.times.at(-1) ?? time - gap;
      if (time <= last) continue;
      if (time - last > gap) this.put((last + time) / 2, null);
      this.put(time, score);
    }
    const first = this.times.findIndex((time) => time >= this.span()[0]);
    if (first > 0) for (const values of [this.times, this.scores]) values.splice(0, first);
  }

  put(time, score) {
    this.times.push(time);
    this.scores.push(score);
  }

  // Shows another threshold while it is being chosen; null goes back.
  show(threshold) {
    this.preview = threshold;
    this.draw();
  }

  draw() {
    this.fit();
    this.chart.setData([this.times, this.scores]);
  }

  fit() {
    const known = this.scores.filter((score) => score !== null);
    const high = Math.max(...known, this.preview ?? this.threshold ?? 0);
    const low = Math.min(...known, this.preview ?? this.threshold ?? 0, 0);
    const rest = 0.12 * (high - low) || 1;
    const [top, bottom] = [high + rest, low < 0 ? low - rest / 3 : 0];
    const much = top - bottom < SHRINK * (this.top - this.bottom);
    if (this.preview !== null || !much) {
      // A scale that shrinks while the line is dragged would hold the line where it is.
      this.top = Math.max(this.top, top);
      this.bottom = Math.min(this.bottom, bottom);
    } else [this.top, this.bottom] = [top, bottom];
  }

  // The parts above the threshold, [first, last] by index.
  *above() {
    const threshold = this.preview ?? this.threshold ?? Infinity;
    let first = -1;
    for (let index = 0; index <= this.scores.length; index++) {
      const high = this.scores[index] > threshold;
      if (high && first < 0) first = index;
      if (!high && first >= 0) {
        yield [first, index - 1];
        first = -1;
      }
    }
  }

  shade(chart) {
    const { ctx, bbox } = chart;
    const strip = 4 * devicePixelRatio;
    for (const [first, last] of this.above()) {
      const [from, to] = [first, last].map((index) => chart.valToPos(this.times[index], "x", true));
      const left = Math.max(from - strip / 2, bbox.left);
      const width = Math.min(to + strip / 2, bbox.left + bbox.width) - left;
      ctx.fillStyle = colour("--shade");
      ctx.fillRect(left, bbox.top, width, bbox.height);
      ctx.fillStyle = colour("--alarm");
      ctx.fillRect(left, bbox.top, width, strip);
    }
  }

  mark(chart) {
    const threshold = this.preview ?? this.threshold;
    if (threshold === null) return;
    const { ctx, bbox } = chart;
    const width = Math.round((this.preview === null ? 1.25 : 2.5) * devicePixelRatio);
    // Its edges are those of pixels: between them it would be faint.
    const y = Math.round(chart.valToPos(threshold, "y", true)) + (width % 2) / 2;
    ctx.save();
    ctx.strokeStyle = colour("--ink");
    ctx.lineWidth = width;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }

  close() {
    dark.removeEventListener("change", this.recolour);
    this.observer.disconnect();
    this.chart.destroy();
  }
}
