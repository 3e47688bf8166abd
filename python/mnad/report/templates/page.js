// Puts the page together.

const data = JSON.parse(document.getElementById("data").textContent);
const pictures = new Pictures(data);
const player = new Player(data, pictures);

for (const canvas of document.querySelectorAll("[data-palette]")) pictures.drawLegend(canvas);

for (const button of document.querySelectorAll("button.go")) {
  button.addEventListener("click", () => {
    player.play(false);
    player.show(Number(button.dataset.video), Number(button.dataset.row));
    document.getElementById("player").scrollIntoView();
    player.timeline.focus({ preventScroll: true });
  });
}

const thumbnails = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      thumbnails.unobserve(target);
      pictures.draw(target, target.dataset.layer, Number(target.dataset.video), Number(target.dataset.row));
    }
  },
  { rootMargin: "400px" },
);
for (const canvas of document.querySelectorAll(".thumbnail")) thumbnails.observe(canvas);

const draw = { roc: drawRoc, precision: drawPrecision, usage: drawUsage, training: drawTraining };
for (const element of document.querySelectorAll("[data-chart]")) {
  const { chart, number } = element.dataset;
  draw[chart](element, number === undefined ? data.charts[chart] : data.charts[chart][Number(number)]);
}

new Threshold(data, player);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
addEventListener("beforeprint", () => {
  document.documentElement.classList.add("printing");
  redrawAll();
});
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  redrawAll();
});
