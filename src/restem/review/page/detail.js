// Everything about the selected stem: its names, labels, the song's other stems, and what was decided.

import { classKey, clock, element, labelSet, split } from "./format.js";
import { keyOfClass } from "./keys.js";

const get = (id) => document.getElementById(id);

export class Detail {
  // on: what to do for toggle(class), listen(index), solo(index), mute(index), undo(number).
  constructor(on) {
    this.on = on;
    get("classes").addEventListener("click", (event) => {
      const button = event.target.closest("[data-class]");
      if (button) on.toggle(button.dataset.class);
    });
    get("others").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) on[button.dataset.does](Number(button.dataset.index));
    });
    get("history").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) on.undo(Number(button.dataset.number));
    });
  }

  // labels: the set that the buttons show, of the stem or of the chosen time.
  show(stem, classes, labels) {
    get("empty").hidden = true;
    get("detail").hidden = false;
    get("song-name").textContent = stem.song;
    get("stem-name").textContent = stem.stem;
    get("badge").className = `badge ${stem.verdict}`;
    get("badge").textContent = stem.verdict;
    get("given").textContent = labelSet(stem.given);
    get("found").textContent = labelSet(stem.found.refined);
    get("now").textContent = labelSet(stem.refined);
    for (const part of [get("now"), get("now-word")]) part.hidden = !stem.decided;
    get("now").classList.toggle("changed", stem.refined !== stem.given);
    get("quality").textContent = stem.found.quality === null ? "" : `quality ${stem.found.quality.toFixed(2)}`;
    get("quality").title = "The probability that the given labels are right as a whole, before anybody listened.";
    get("why").textContent = stem.decided ? "" : stem.why;
    this.showClasses(stem, classes, labels);
    this.showHistory(stem);
  }

  showClasses(stem, classes, labels) {
    const given = split(stem.given);
    get("classes").classList.toggle("many", classes.length > 5);
    // The buttons stay, so that the focus does.
    if (get("classes").children.length !== classes.length) {
      get("classes").replaceChildren(...classes.map((name, i) => {
        const button = element("button", { type: "button", className: `class ${classKey(i)}` },
          element("kbd", {}, keyOfClass(i)), element("b", {}, name), element("small"));
        button.dataset.class = name;
        return button;
      }));
    }
    for (const button of get("classes").children) {
      const name = button.dataset.class;
      const score = stem.found[name];
      button.setAttribute("aria-pressed", String(labels.includes(name)));
      button.disabled = stem.found.verdict === "failed";
      button.querySelector("small").textContent = [score === null ? "" : score.toFixed(2), given.includes(name) ? "given" : ""].filter(Boolean).join(" · ");
      button.title = score === null ? "" : `probability ${score.toFixed(3)} that ${name} is in this stem`;
    }
    for (const id of ["accept", "unsure"]) get(id).disabled = stem.found.verdict === "failed";
  }

  // stems: the columns of the queue. heard: the rows that are heard.
  showOthers(stem, stems, heard) {
    const song = [stem.index, ...stem.others].sort((a, b) => a - b);
    get("others").replaceChildren(...song.map((i) => {
      const name = stems.stem[i] ?? "…"; // not loaded yet
      const button = (does, text, label, pressed) => {
        const made = element("button", { type: "button", ariaLabel: label }, text);
        made.dataset.does = does;
        made.dataset.index = i;
        if (pressed !== undefined) made.setAttribute("aria-pressed", String(pressed));
        return made;
      };
      const item = element("li", { className: i === stem.index ? "current" : "" },
        button("mute", heard.has(i) ? "on" : "off", `Hear ${name}`, heard.has(i)),
        button("solo", "solo", `Hear only ${name}`, heard.size === 1 && heard.has(i)),
        element("span", { className: "what" }, element("b", {}, name), element("small", {}, labelSet(stems.refined[i] ?? ""))),
        i === stem.index ? element("small", { className: "quiet" }, "this one") : button("select", "open", `Review ${name}`));
      return item;
    }));
    get("mix").setAttribute("aria-pressed", String(song.every((i) => heard.has(i))));
    get("mix").hidden = song.length < 2;
  }

  showHistory(stem) {
    get("history").hidden = !stem.history.length;
    get("history").querySelector("ol").replaceChildren(...stem.history.map((one) => {
      const when = new Date(one.time);
      const where = one.start_s === null ? "" : ` from ${clock(one.start_s, 1)} to ${clock(one.end_s, 1)}`;
      const what = one.new === null ? "cannot tell" : labelSet(one.new);
      const button = element("button", { type: "button", ariaLabel: `Undo: ${what}${where}` }, "undo");
      button.dataset.number = one.number;
      return element("li", {},
        element("span", {}, element("b", {}, what), where),
        element("small", { className: "quiet" }, [one.person, Number.isNaN(when.valueOf()) ? one.time : when.toLocaleString("en-GB")].filter(Boolean).join(", ")),
        button);
    }));
  }
}
