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

// 1 for each row within some runs.
function marks(rows, runs) {
  const marked = new Uint8Array(rows);
  for (const [first, last] of runs) marked.fill(1, first, last + 1);
  return marked;
}

// What a threshold finds in a video: its alarms against the labels, and the frames above it.
function judge(video, threshold, rule) {
  const { scores, labelled, abnormal } = video;
  const alarms = findAlarms(video, threshold, rule);
  const within = marks(scores.length, alarms);
  const found = { alarms, within: 0, right: 0, above: 0, aboveRight: 0 };
  for (let row = 0; row < scores.length; row++) {
    found.within += within[row];
    found.right += within[row] & abnormal[row];
    if (!(scores[row] > threshold)) continue;
    found.above++;
    found.aboveRight += abnormal[row];
  }
  found.caught = labelled.filter((event) => alarms.some((alarm) => overlap(event, alarm))).length;
  found.falseAlarms = alarms.filter((alarm) => !labelled.some((event) => overlap(alarm, event))).length;
  return found;
}

class Threshold {
  constructor(data, player) {
    this.data = data;
    this.player = player;
    this.first = data.threshold;
    this.slider = document.getElementById("threshold");
    this.value = document.getElementById("threshold-value");
    this.found = document.getElementById("threshold-found");
    this.back = document.getElementById("threshold-back");
    this.frames = this.abnormal = this.events = 0;
    for (const video of data.videos) {
      video.abnormal = marks(video.scores.length, video.labelled);
      this.frames += video.scores.length;
      this.abnormal += video.abnormal.reduce((sum, mark) => sum + mark, 0);
      this.events += video.labelled.length;
    }
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
    const sum = { alarms: 0, within: 0, right: 0, above: 0, aboveRight: 0, caught: 0, falseAlarms: 0 };
    data.videos.forEach((video, index) => {
      const found = judge(video, threshold, data.rule);
      video.alarms = found.alarms;
      for (const name of Object.keys(sum)) sum[name] += name === "alarms" ? found.alarms.length : found[name];
      this.tellVideo(found, video, index);
    });
    this.value.textContent = threshold.toFixed(3);
    this.back.disabled = threshold === this.first;
    this.found.textContent = this.inWords(sum);
    this.moveDots(sum);
    this.player.alarmsMoved();
    redrawAll();
  }

  inWords(sum) {
    const { labelled, fps } = this.data;
    const normal = this.frames - this.abnormal;
    const alarms = `${sum.alarms} alarms`;
    if (!labelled) return alarms;
    const share = (part, whole) => (whole === 0 ? null : part / whole);
    const hourly = fps === null || normal === 0 ? "" : `, ${short((3600 * fps * sum.falseAlarms) / normal)} an hour`;
    return `${alarms} · ${sum.caught} of ${this.events} events caught · precision ${PER_CENT(share(sum.right, sum.within))} · `
      + `recall ${PER_CENT(share(sum.right, this.abnormal))} · ${sum.falseAlarms} false alarms${hourly}`;
  }

  // Where the curves stand at the threshold: of frames above it, not of alarms.
  moveDots({ above, aboveRight }) {
    const { roc, precision } = this.data.charts;
    if (roc === undefined) return;
    const recall = aboveRight / this.abnormal;
    roc.dot.splice(0, 2, (above - aboveRight) / (this.frames - this.abnormal), recall);
    precision.dot.splice(0, 2, recall, above === 0 ? 1 : aboveRight / above);
  }

  tellVideo({ alarms, caught, falseAlarms }, { labelled }, index) {
    const tell = (what, text) => {
      const cell = document.getElementById(`${what}-${index}`);
      if (cell !== null) cell.textContent = text;
    };
    tell("alarms", String(alarms.length));
    tell("caught", `${caught} of ${labelled.length}`);
    tell("false-alarms", String(falseAlarms));
    const [low, high] = this.data.span;
    const line = document.getElementById(`spark-threshold-${index}`);
    const { height } = line.ownerSVGElement.viewBox.baseVal;
    const y = 1 + ((height - 2) * (high - this.data.threshold)) / (high - low);
    for (const end of ["y1", "y2"]) line.setAttribute(end, String(y));
  }
}
