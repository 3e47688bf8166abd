// The threshold as a slider: what moves with it is computed here, as mnad evaluate computes it.

const PER_CENT = (share) => (share === null ? "none" : `${(100 * share).toFixed(1)} %`);

// The runs of rows, [first, last], in which a condition holds for frames that follow one another.
function runsOf(frames, holds) {
  const found = [];
  for (let row = 0; row < frames.length; row++) {
    if (!holds(row)) continue;
    const run = found[found.length - 1];
    if (run !== undefined && run[1] === row - 1 && frames[row] === frames[row - 1] + 1) run[1] = row;
    else found.push([row, row]);
  }
  return found;
}

// The alarms of a video, [first, last] by row: see mnad.evaluation.events.find_events.
function findAlarms({ frames, scores }, threshold, { hysteresis, merge_gap: gap, min_length: shortest }) {
  const alarms = [];
  for (const [first, last] of runsOf(frames, (row) => scores[row] > threshold - hysteresis)) {
    let begin = first;
    while (begin <= last && !(scores[begin] > threshold)) begin++;
    if (begin > last) continue;
    const before = alarms[alarms.length - 1];
    if (before !== undefined && frames[begin] - frames[before[1]] - 1 <= gap) before[1] = last;
    else alarms.push([begin, last]);
  }
  return alarms.filter(([first, last]) => frames[last] - frames[first] + 1 >= shortest);
}

const overlap = ([first, last], [from, to]) => first <= to && from <= last;
const rowsWithin = (runs) => new Set(runs.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, n) => first + n)));

class Threshold {
  constructor(data, player) {
    this.data = data;
    this.player = player;
    this.first = data.threshold;
    this.slider = document.getElementById("threshold");
    this.value = document.getElementById("threshold-value");
    this.found = document.getElementById("threshold-found");
    this.back = document.getElementById("threshold-back");
    this.slider.addEventListener("input", () => this.move(Number(this.slider.value)));
    this.back.addEventListener("click", () => {
      this.slider.value = String(this.first);
      this.move(this.first);
    });
    this.move(this.first);
  }

  move(threshold) {
    const { data } = this;
    data.threshold = threshold;
    for (const video of data.videos) video.alarms = findAlarms(video, threshold, data.rule);
    this.value.textContent = threshold.toFixed(3);
    this.back.disabled = threshold === this.first;
    this.found.textContent = this.inWords();
    data.videos.forEach((video, index) => this.tellVideo(video, index));
    for (const [name, dot] of Object.entries(this.dots())) data.charts[name].dot.splice(0, 2, ...dot);
    this.player.alarmsMoved();
    redrawAll();
  }

  counts() {
    const sum = { alarms: 0, within: 0, right: 0, abnormal: 0, normal: 0, events: 0, caught: 0, falseAlarms: 0 };
    for (const { frames, alarms, labelled } of this.data.videos) {
      const within = rowsWithin(alarms);
      const abnormal = rowsWithin(labelled);
      sum.alarms += alarms.length;
      sum.within += within.size;
      sum.right += [...within].filter((row) => abnormal.has(row)).length;
      sum.abnormal += abnormal.size;
      sum.normal += frames.length - abnormal.size;
      sum.events += labelled.length;
      sum.caught += labelled.filter((event) => alarms.some((alarm) => overlap(event, alarm))).length;
      sum.falseAlarms += alarms.filter((alarm) => !labelled.some((event) => overlap(alarm, event))).length;
    }
    return sum;
  }

  inWords() {
    const { labelled, fps } = this.data;
    const sum = this.counts();
    const alarms = `${sum.alarms} alarms`;
    if (!labelled) return alarms;
    const share = (part, whole) => (whole === 0 ? null : part / whole);
    const hourly = fps === null || sum.normal === 0 ? "" : `, ${short((3600 * fps * sum.falseAlarms) / sum.normal)} an hour`;
    return `${alarms} · ${sum.caught} of ${sum.events} events caught · precision ${PER_CENT(share(sum.right, sum.within))} · `
      + `recall ${PER_CENT(share(sum.right, sum.abnormal))} · ${sum.falseAlarms} false alarms${hourly}`;
  }

  // Where the curves stand at the threshold: of frames above it, not of alarms.
  dots() {
    const { videos, threshold, charts } = this.data;
    if (charts.roc === undefined) return {};
    let [right, wrong, abnormal, frames] = [0, 0, 0, 0];
    for (const { scores, labelled } of videos) {
      const marked = rowsWithin(labelled);
      abnormal += marked.size;
      frames += scores.length;
      scores.forEach((score, row) => {
        if (score > threshold) marked.has(row) ? right++ : wrong++;
      });
    }
    const recall = right / abnormal;
    return { roc: [wrong / (frames - abnormal), recall], precision: [recall, right + wrong === 0 ? 1 : right / (right + wrong)] };
  }

  tellVideo({ alarms, labelled }, index) {
    const tell = (what, text) => {
      const cell = document.getElementById(`${what}-${index}`);
      if (cell !== null) cell.textContent = text;
    };
    tell("alarms", String(alarms.length));
    tell("caught", `${labelled.filter((event) => alarms.some((alarm) => overlap(event, alarm))).length} of ${labelled.length}`);
    tell("false-alarms", String(alarms.filter((alarm) => !labelled.some((event) => overlap(alarm, event))).length));
    const [low, high] = this.data.span;
    const line = document.getElementById(`spark-threshold-${index}`);
    const { height } = line.ownerSVGElement.viewBox.baseVal;
    const y = 1 + ((height - 2) * (high - this.data.threshold)) / (high - low);
    for (const end of ["y1", "y2"]) line.setAttribute(end, String(y));
  }
}
