// The cards of all streams.

import { Card } from "./card.js";

const HEAT = "mnad-watch-heat";

export class Streams {
  constructor(page) {
    this.page = page;
    this.grid = document.getElementById("grid");
    this.empty = document.getElementById("no-streams");
    this.section = document.getElementById("streams");
    this.heat = document.getElementById("heat");
    this.cards = new Map();
    this.heat.checked = remembered();
    this.heat.addEventListener("change", () => {
      remember(this.heat.checked);
      for (const card of this.cards.values()) card.picture.showHeat(this.heat.checked);
    });
  }

  update(streams, asked) {
    const names = new Set(streams.map(({ name }) => name));
    for (const [name, card] of this.cards) if (!names.has(name)) this.remove(name, card);
    for (const stream of streams) (this.cards.get(stream.name) ?? this.add(stream.name)).update(stream, asked);
    this.empty.hidden = streams.length > 0;
  }

  add(name) {
    const card = new Card(name, this.page);
    this.cards.set(name, card);
    this.grid.append(card.root);
    card.open();
    card.picture.showHeat(this.heat.checked);
    return card;
  }

  remove(name, card) {
    const focused = card.root.contains(document.activeElement);
    card.close();
    this.cards.delete(name);
    if (focused) this.section.focus({ preventScroll: true });
  }

  focus(name) {
    this.cards.get(name)?.parts.name.focus();
  }
}

// Where nothing can be stored, nothing is remembered.
function remembered() {
  try {
    return localStorage.getItem(HEAT) === "1";
  } catch {
    return false;
  }
}

function remember(on) {
  try {
    localStorage.setItem(HEAT, on ? "1" : "0");
  } catch {
    // It holds until the page is closed.
  }
}
