// The live picture of a stream with its zones, loaded while somebody can see it.

import { request, streamPath } from "./api.js";
import { setAttribute } from "./words.js";

const SHORTEST = 200; // milliseconds between pictures
const AT_ONCE = 3; // of the six requests that a browser has under way
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000; // of the drawing of zones

let underWay = 0;
const queue = [];

// Pictures take turns, so that other requests find a way.
async function inTurn(work) {
  if (underWay >= AT_ONCE) await new Promise((resolve) => queue.push(resolve));
  else underWay++;
  try {
    return await work();
  } finally {
    const next = queue.shift();
    if (next === undefined) underWay--;
    else next();
  }
}

export class Picture {
  constructor(name, { shot, canvas, zones, "no-picture": nothing }) {
    Object.assign(this, { name, shot, canvas, zones, nothing });
    this.context = canvas.getContext("2d");
    this.heat = this.moving = this.there = this.visible = this.running = this.closed = false;
    this.wanted = this.shown = "";
    this.drawn = "[]";
    this.observer = new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      this.run();
    });
    this.observer.observe(shot.parentElement);
  }

  update(stream) {
    this.there = stream.frames.read > 0;
    this.moving = stream.state === "watching";
    this.wanted = `${stream.frames.read} ${this.heat}`;
    this.drawZones(stream.zones);
    setAttribute(this.canvas, "aria-label", `Picture of ${this.name}${this.heat ? " with the heatmap" : ""}`);
    this.run();
  }

  showHeat(heat) {
    this.heat = heat;
    this.wanted = `${this.wanted.split(" ")[0]} ${heat}`;
    this.run();
  }

  close() {
    this.closed = true;
    this.observer.disconnect();
  }

  isDue() {
    const seen = this.visible && !document.hidden && !this.closed;
    return seen && this.there && (this.moving || this.wanted !== this.shown);
  }

  // Ends when nothing new is to be seen, or nothing comes; the next update begins again.
  async run() {
    if (this.running) return;
    this.running = true;
    try {
      while (this.isDue()) {
        const began = performance.now();
        await inTurn(() => this.load());
        const took = performance.now() - began;
        await new Promise((resolve) => setTimeout(resolve, Math.max(SHORTEST - took, took)));
      }
    } catch {
      // The card and the banner say what is wrong.
    } finally {
      this.running = false;
    }
  }

  async load() {
    const { wanted } = this;
    const response = await request(`${streamPath(this.name)}/picture.jpg${this.heat ? "?heat=1" : ""}`, { priority: "low" });
    const picture = await createImageBitmap(await response.blob());
    this.show(picture);
    picture.close();
    this.shown = wanted;
  }

  show(picture) {
    const { canvas } = this;
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
      this.shot.style.setProperty("--ratio", String(picture.width / picture.height));
      this.zones.setAttribute("viewBox", `0 0 ${WIDTH} ${(WIDTH * picture.height) / picture.width}`);
      this.drawn = "";
    }
    this.context.drawImage(picture, 0, 0);
    this.nothing.hidden = true;
    this.shot.classList.add("there");
  }

  // The zones of a stream never change, but the size of its pictures may.
  drawZones(zones) {
    const described = JSON.stringify(zones);
    if (described === this.drawn || this.nothing.hidden === false) return;
    this.drawn = described;
    const { width, height } = this.canvas;
    const scale = ([x, y]) => `${WIDTH * x},${(WIDTH * y * height) / width}`;
    const shapes = zones.flatMap(({ polygon, kind }) => {
      const points = polygon.map(scale).join(" ");
      return ["under", kind].map((name) => polygonOf(points, name));
    });
    this.zones.replaceChildren(...shapes);
    for (const old of this.shot.querySelectorAll(".zone-name")) old.remove();
    this.shot.append(...zones.map(labelOf));
  }
}

function polygonOf(points, name) {
  const shape = document.createElementNS(SVG, "polygon");
  shape.setAttribute("points", points);
  shape.setAttribute("class", name);
  return shape;
}

function labelOf({ polygon, name, kind }) {
  const label = document.createElement("span");
  label.className = "zone-name";
  label.textContent = kind === "ignore" ? (name ? `${name}: ignored` : "ignored") : name || "only here";
  label.style.left = `${100 * Math.min(...polygon.map(([x]) => x))}%`;
  label.style.top = `${100 * Math.min(...polygon.map(([, y]) => y))}%`;
  return label;
}
