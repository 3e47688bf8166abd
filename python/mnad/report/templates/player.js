// The player: a curve that is a slider, and the pictures of the frame that it stands at.

const FRAMES_A_SECOND = 10;
const PAGE = 10;

class Player {
  constructor(data, pictures) {
    this.data = data;
    this.pictures = pictures;
    this.timeline = document.getElementById("timeline");
    this.select = document.getElementById("video");
    this.button = document.getElementById("play");
    this.next = document.getElementById("next-alarm");
    this.verdict = document.getElementById("verdict");
    this.canvases = data.layers.map(({ name }) => [name, document.getElementById(`picture-${name}`)]);
    this.needle = document.createElement("div");
    this.needle.className = "needle";
    this.timer = null;
    this.video = data.start.video;
    this.row = data.start.row;
    this.makeChart();
    this.listen();
    this.show(this.video, this.row);
  }

  get current() {
    return this.data.videos[this.video];
  }

  series() {
    return [this.current.frames, this.current.scores];
  }

  makeChart() {
    const [low, high] = this.data.span;
    const options = {
      scales: { x: { time: false, range: (_, first, last) => [first, Math.max(last, first + 1)] }, y: { range: [low, high + 0.08 * (high - low)] } },
      axes: [axis("frame"), axis("score", { size: 44, incrs: [0.5, 1, 2, 5, 10, 20, 50, 100, 1000] })],
      series: [{}, line("score", "--line")],
      hooks: {
        ready: [(chart) => chart.over.append(this.needle)],
        drawClear: [(chart) => this.shade(chart)],
        draw: [(chart) => this.mark(chart)],
        setSize: [() => this.moveNeedle()],
      },
    };
    this.chart = makeChart(this.timeline, options, this.series());
  }

  // The extent of rows on the canvas: half a frame to either side.
  extent(chart, [first, last]) {
    const { frames } = this.current;
    const { left, width } = chart.bbox;
    const at = (frame) => Math.min(Math.max(chart.valToPos(frame, "x", true), left), left + width);
    return [at(frames[first] - 0.5), at(frames[last] + 0.5)];
  }

  shade(chart) {
    const { top, height } = chart.bbox;
    chart.ctx.fillStyle = colour("--shade");
    for (const run of this.current.labelled) {
      const [from, to] = this.extent(chart, run);
      chart.ctx.fillRect(from, top, to - from, height);
    }
  }

  mark(chart) {
    const { ctx, bbox } = chart;
    const y = chart.valToPos(this.data.threshold, "y", true);
    ctx.save();
    ctx.fillStyle = colour("--alarm");
    for (const run of this.current.alarms) {
      const [from, to] = this.extent(chart, run);
      ctx.fillRect(from, bbox.top, Math.max(to - from, 2), 6 * devicePixelRatio);
    }
    ctx.strokeStyle = colour("--ink");
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }

  moveNeedle() {
    if (this.chart) this.needle.style.transform = `translateX(${this.chart.valToPos(this.current.frames[this.row], "x")}px)`;
  }

  // Goes to a row of a video: all that shows the place follows.
  show(video, row) {
    const other = video !== this.video;
    this.video = video;
    this.row = Math.min(Math.max(row, 0), this.current.frames.length - 1);
    this.select.value = String(video);
    if (other) this.chart.setData(this.series());
    this.moveNeedle();
    this.tell();
    for (const [name, canvas] of this.canvases) this.pictures.draw(canvas, name, this.video, this.row);
  }

  tell() {
    const { frames, scores, labelled, alarms, name } = this.current;
    const within = (runs) => runs.some(([first, last]) => first <= this.row && this.row <= last);
    const alarm = within(alarms);
    const abnormal = within(labelled);
    const judged = this.data.labelled
      ? { truetrue: "rightly an alarm", truefalse: "a false alarm", falsetrue: "missed: labelled abnormal, no alarm",
          falsefalse: "rightly quiet" }[`${alarm}${abnormal}`]
      : alarm ? "alarm" : "quiet";
    const score = scores[this.row].toFixed(2);
    const word = document.createElement("b");
    word.textContent = judged;
    word.classList.toggle("wrong", this.data.labelled && alarm !== abnormal);
    this.verdict.replaceChildren(`Frame ${frames[this.row]} · score ${score} · `, word);
    const set = (attribute, value) => this.timeline.setAttribute(`aria-${attribute}`, value);
    set("valuemin", frames[0]);
    set("valuemax", frames[frames.length - 1]);
    set("valuenow", frames[this.row]);
    set("valuetext", `video ${name}, frame ${frames[this.row]} of ${frames[frames.length - 1]}, score ${score}, ${judged}`);
  }

  // Follows the threshold.
  alarmsMoved() {
    this.next.disabled = this.data.videos.every(({ alarms }) => alarms.length === 0);
    this.tell();
  }

  // Goes to the highest score of the next alarm, in the next video if need be.
  nextAlarm() {
    const { videos } = this.data;
    for (let ahead = 0; ahead <= videos.length; ahead++) {
      const video = (this.video + ahead) % videos.length;
      const after = ahead === 0 ? this.row : -1;
      const run = videos[video].alarms.find(([first]) => first > after);
      if (run === undefined) continue;
      const { scores } = videos[video];
      let peak = run[0];
      for (let row = run[0]; row <= run[1]; row++) if (scores[row] > scores[peak]) peak = row;
      this.show(video, peak);
      return;
    }
  }

  play(on) {
    clearInterval(this.timer);
    this.timer = null;
    if (on && this.row === this.current.frames.length - 1) this.show(this.video, 0);
    if (on) {
      this.timer = setInterval(() => {
        if (this.row < this.current.frames.length - 1) this.show(this.video, this.row + 1);
        else this.play(false);
      }, 1000 / FRAMES_A_SECOND);
    }
    this.button.textContent = on ? "❚❚ Pause" : "▶ Play";
    this.button.setAttribute("aria-pressed", String(on));
  }

  seek(event) {
    const left = event.clientX - this.chart.over.getBoundingClientRect().left;
    const frame = this.chart.posToVal(left, "x");
    this.show(this.video, this.chart.valToIdx(frame));
  }

  listen() {
    this.timeline.addEventListener("pointerdown", (event) => {
      this.play(false);
      this.timeline.setPointerCapture(event.pointerId);
      this.seek(event);
    });
    this.timeline.addEventListener("pointermove", (event) => {
      if (this.timeline.hasPointerCapture(event.pointerId)) this.seek(event);
    });
    this.timeline.addEventListener("keydown", (event) => {
      const moves = {
        ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: PAGE, PageDown: -PAGE,
        Home: -Infinity, End: Infinity,
      };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in moves) {
        this.play(false);
        this.show(this.video, this.row + moves[event.key]);
      } else if (event.key === " ") this.play(this.timer === null);
      else if (event.key === "n" || event.key === "N") this.nextAlarm();
      else return;
      event.preventDefault();
    });
    this.button.addEventListener("click", () => this.play(this.timer === null));
    this.select.addEventListener("change", () => {
      const video = Number(this.select.value);
      this.play(false);
      this.show(video, this.data.videos[video].peak);
    });
    this.next.addEventListener("click", () => {
      this.play(false);
      this.nextAlarm();
    });
  }
}
