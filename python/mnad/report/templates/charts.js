// Charts by uPlot, in the colours of the page, which change with the dark mode and for printing.

const charts = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(label, more) {
  return {
    label,
    size: 34,
    labelSize: label ? 20 : 0,
    labelFont: "13px system-ui, sans-serif",
    font: "12px system-ui, sans-serif",
    stroke: () => colour("--quiet"),
    grid: { stroke: () => colour("--rule"), width: 1 },
    ticks: { stroke: () => colour("--rule"), width: 1 },
    ...more,
  };
}

// A line in one of the page's colours.
function line(label, name, more) {
  return { label, stroke: () => colour(name), width: 2, points: { show: false }, ...more };
}

// A legend whose colours follow the page's.
function legend(names) {
  const marker = (_, index) => (index === 0 ? "none" : `var(${names[index - 1]})`);
  return { show: names.length > 1, live: false, markers: { stroke: marker, fill: marker } };
}

// Makes a chart that fills its element, whatever the width of the page becomes.
function makeChart(element, options, data) {
  const chart = new uPlot(
    {
      width: element.clientWidth,
      height: element.clientHeight,
      legend: { show: false },
      cursor: { show: false },
      padding: [8, 12, 0, 0],
      ...options,
    },
    data,
    element,
  );
  const below = element.querySelector(".u-legend");
  new ResizeObserver(() => {
    const height = element.clientHeight - (below === null ? 0 : below.offsetHeight);
    if (element.clientWidth > 0) chart.setSize({ width: element.clientWidth, height });
  }).observe(element);
  charts.push(chart);
  return chart;
}

function redrawAll() {
  for (const chart of charts) chart.redraw(false, true);
}

function unitScales() {
  return { x: { time: false, range: [0, 1] }, y: { range: [0, 1.02] } };
}

// Adds a dashed straight line and a dot, in the units of the scales.
function guide(from, to, dot) {
  return {
    hooks: {
      draw: [
        (chart) => {
          const at = ([x, y]) => [chart.valToPos(x, "x", true), chart.valToPos(y, "y", true)];
          const { ctx } = chart;
          ctx.save();
          ctx.strokeStyle = colour("--quiet");
          ctx.setLineDash([6, 4]);
          ctx.beginPath();
          ctx.moveTo(...at(from));
          ctx.lineTo(...at(to));
          ctx.stroke();
          ctx.fillStyle = colour("--other");
          ctx.beginPath();
          ctx.arc(...at(dot), 5 * devicePixelRatio, 0, 2 * Math.PI);
          ctx.fill();
          ctx.restore();
        },
      ],
    },
  };
}

function drawRoc(element, curve) {
  const options = {
    scales: unitScales(),
    axes: [axis("normal frames with an alarm"), axis("abnormal frames found", { size: 40 })],
    series: [{}, line("ROC", "--line")],
    plugins: [guide([0, 0], [1, 1], curve.dot)],
  };
  makeChart(element, options, [curve.x, curve.y]);
}

function drawPrecision(element, curve) {
  const options = {
    scales: unitScales(),
    axes: [axis("abnormal frames found (recall)"), axis("alarms that are right (precision)", { size: 40 })],
    series: [{}, line("precision", "--line")],
    plugins: [guide([0, curve.chance], [1, curve.chance], curve.dot)],
  };
  makeChart(element, options, [curve.x, curve.y]);
}

function drawUsage(element, usage) {
  const several = usage.series.length > 1;
  const bars = (side) => uPlot.paths.bars({ size: [several ? 0.4 : 0.7, 100], align: side });
  const names = ["--line", "--other"];
  const series = usage.series.map(({ label }, index) =>
    line(label, names[index], {
      fill: () => colour(names[index]), width: 0, paths: bars(several ? [-1, 1][index] : 0),
    }),
  );
  const items = usage.series[0].values.map((_, item) => item);
  const options = {
    legend: legend(names.slice(0, usage.series.length)),
    scales: { x: { time: false, range: [-0.6, items.length - 0.4] }, y: { range: (_, low, high) => [0, high || 1] } },
    axes: [
      axis("memory item", { incrs: [1, 2, 5, 10, 20, 50, 100], grid: { show: false } }),
      axis("", { size: 50, values: (_, ticks) => ticks.map((tick) => `${+(100 * tick).toFixed(1)} %`) }),
    ],
    series: [{ label: "item" }, ...series],
  };
  makeChart(element, options, [items, ...usage.series.map(({ values }) => values)]);
}

// A number in few digits, however small.
function short(value) {
  if (value === 0 || Math.abs(value) >= 1e-3) return String(+value.toPrecision(3));
  return value.toExponential(0);
}

function drawTraining(element, chart) {
  const names = ["--line", "--other"];
  const points = { show: chart.x.length < 3, size: 6 };
  const options = {
    legend: legend(names.slice(0, chart.series.length)),
    scales: { x: { time: false } },
    axes: [axis("epoch", { incrs: [1, 2, 5, 10, 20, 50, 100] }), axis("", { size: 64, values: (_, ticks) => ticks.map(short) })],
    series: [{ label: "epoch" }, ...chart.series.map(({ label }, index) => line(label, names[index], { points }))],
  };
  makeChart(element, options, [chart.x, ...chart.series.map(({ values }) => values)]);
}
