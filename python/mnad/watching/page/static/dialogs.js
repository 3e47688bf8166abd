// The dialogs that add a stream and remove one.

import { ask, streamPath } from "./api.js";
import { setText } from "./words.js";

// Lets a dialog be closed by its button, and by a click beside it.
export function closable(dialog) {
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}

class Form {
  constructor(id) {
    this.dialog = document.getElementById(id);
    this.form = this.dialog.querySelector("form");
    this.fault = this.dialog.querySelector(".fault");
    this.submit = this.dialog.querySelector("[type=submit]");
    this.sending = false;
    closable(this.dialog);
    this.dialog.addEventListener("close", () => this.form.reset()); // an address may hold a password
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  open() {
    setText(this.fault, "");
    this.dialog.showModal();
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    this.submit.setAttribute("aria-disabled", "true");
    setText(this.fault, "");
    try {
      const then = await this.act();
      this.dialog.close();
      then();
    } catch (error) {
      setText(this.fault, error.message);
    } finally {
      this.sending = false;
      this.submit.removeAttribute("aria-disabled");
    }
  }
}

export class AddDialog extends Form {
  // `added` is called with the name once the stream is watched.
  constructor(added) {
    super("add-dialog");
    this.added = added;
    document.getElementById("add").addEventListener("click", () => this.open());
  }

  async act() {
    const values = [...new FormData(this.form)].map(([name, value]) => [name, value.trim()]);
    const options = Object.fromEntries(values.filter(([, value]) => value !== ""));
    await ask("/api/streams", "POST", options);
    return () => this.added(options.name);
  }
}

export class RemoveDialog extends Form {
  constructor(removed) {
    super("remove-dialog");
    this.removed = removed;
    this.name = "";
  }

  ask(name) {
    this.name = name;
    setText(this.dialog.querySelector("h2"), `Remove ${name}?`);
    this.open();
  }

  async act() {
    await ask(streamPath(this.name), "DELETE");
    return this.removed;
  }
}
