// The list of stems: filtered, in the order of doubt, and only as many elements as can be seen.

import { counted, element, labelSet, split } from "./format.js";
import { whenPicked } from "./rows.js";

const ROW_HEIGHT = 54;
const BEYOND = 6; // rows above and below what can be seen

const COLUMNS = ["song", "stem", "given", "refined", "verdict", "quality", "doubt", "decided"];

export class Queue {
  constructor(select) {
    this.select = select;
    this.list = document.getElementById("list");
    this.rows = document.getElementById("rows");
    this.fields = Object.fromEntries(["search", "state", "verdict", "class", "song"].map((id) => [id, document.getElementById(id)]));
    this.shown = [];
    this.current = null;
    this.list.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.list);
    document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const field of Object.values(this.fields)) field.addEventListener("input", () => this.filter());
    whenPicked(this.rows, (index) => this.select(index));
  }

  // part: the first answer of api.stems(). Columns are by row of the run, with holes where nothing has come yet.
  load(part, classes) {
    const { queue, last, next } = part;
    this.stems = { queue, last, next, songs: [], ...Object.fromEntries(COLUMNS.map((name) => [name, Array(queue.length)])) };
    this.searched = Array(queue.length);
    this.drawn = new Set(part.drawn);
    const { verdict } = this.fields;
    const verdicts = ["unsure", "changed", "kept", "silent", "failed"];
    verdict.append(...verdicts.map((one) => element("option", { value: one }, one)));
    this.fields.class.append(...classes.map((one) => element("option", { value: one }, one)));
    this.add(part);
  }

  // Another part of the stems.
  add(part) {
    const s = this.stems;
    for (const [number, song] of Object.entries(part.songs)) s.songs[number] = song;
    part.rows.forEach((row, place) => {
      for (const name of COLUMNS) s[name][row] = part[name][place];
      this.search(row);
    });
    this.filter();
  }

  // Once all songs are known; thousands of them take a moment, which the first view does not have.
  offerSongs() {
    this.fields.song.append(...this.stems.songs.map((one, i) => element("option", { value: String(i) }, one)));
  }

  search(i) {
    const s = this.stems;
    this.searched[i] = `${s.songs[s.song[i]]} ${s.stem[i]} ${s.given[i]} ${s.refined[i]}`.toLowerCase();
  }

  // One stem's own columns, after something was decided about it.
  update(index, stem) {
    for (const [name, value] of Object.entries(stem)) this.stems[name][index] = value;
    if (this.stems.stem[index] !== undefined) this.search(index);
    this.draw();
    this.showProgress();
  }

  filter() {
    const { search, state, verdict, song } = this.fields;
    const name = this.fields.class.value;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const s = this.stems;
    this.shown = s.queue.filter((i) =>
      s.stem[i] !== undefined &&
      (!verdict.value || s.verdict[i] === verdict.value) &&
      (!song.value || s.song[i] === Number(song.value)) &&
      (!state.value || Boolean(s.decided[i]) === (state.value === "done")) &&
      (!name || split(s.given[i]).includes(name) || split(s.refined[i]).includes(name)) &&
      words.every((word) => this.searched[i].includes(word)));
    this.rows.style.height = `${this.shown.length * ROW_HEIGHT}px`;
    const all = s.queue.length;
    document.getElementById("count").textContent =
      this.shown.length === all ? `${counted(all, "stem")}, the most doubtful first` : `${this.shown.length.toLocaleString("en")} of ${counted(all, "stem")}`;
    this.showProgress();
    this.draw();
  }

  showProgress() {
    const done = this.stems.decided.filter(Boolean).length;
    const all = this.stems.decided.length;
    const bar = document.getElementById("progress");
    bar.max = all || 1;
    bar.value = done;
    document.getElementById("progress-text").textContent = `${done.toLocaleString("en")} of ${all.toLocaleString("en")} decided`;
  }

  // left: the answer of api.remaining().
  showRemaining(left) {
    const text = left.stems
      ? `Of the ${counted(left.stems, "undecided stem")}, about ${left.wrong.toFixed(left.wrong < 9.5 ? 1 : 0)} ${left.wrong.toFixed(1) === "1.0" ? "has" : "have"} wrong labels, with 95 % probability at most ${left.at_most.toLocaleString("en")}.`
      : "All stems that sound are decided.";
    const drawn = left.drawn ? ` Drawn at random so far: ${left.drawn}, of which ${left.drawn_wrong} wrong.` : ` 1 stem in ${left.random_every} is drawn at random, to tell this.`;
    document.getElementById("remaining").textContent = text + (left.stems || left.drawn ? drawn : "");
  }

  draw() {
    if (!this.stems) return;
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW_HEIGHT) - BEYOND);
    const last = Math.min(this.shown.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / ROW_HEIGHT) + BEYOND);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.row(this.shown[place], place));
    this.rows.replaceChildren(...rows);
    if (rows.some((row) => row.id === `row-${this.current}`)) this.list.setAttribute("aria-activedescendant", `row-${this.current}`);
    else this.list.removeAttribute("aria-activedescendant");
  }

  row(i, place) {
    const s = this.stems;
    const changed = s.given[i] !== s.refined[i];
    const state = s.decided[i];
    const mark = { decided: "✓", known: "✓", unsure: "?", part: "◐" }[state] ?? "";
    const words = { decided: "decided", known: "decided before", unsure: "undecidable", part: "partly decided" }[state] ?? "not decided";
    const row = element("div", { id: `row-${i}`, role: "option", className: `row ${state ? "done" : ""}` },
      element("span", { className: "doubt", ariaHidden: "true", title: `doubt ${s.doubt[i].toFixed(2)}` }, element("i")),
      element("span", { className: "what" },
        element("b", {}, s.stem[i]), element("small", {}, this.drawn.has(i) ? `drawn at random · ${s.songs[s.song[i]]}` : s.songs[s.song[i]])),
      element("span", { className: "labels" },
        element("span", { className: changed ? "new" : "" }, labelSet(s.refined[i])),
        element("small", { className: `verdict ${s.verdict[i]}` }, changed ? `${s.verdict[i]}, was ${labelSet(s.given[i])}` : s.verdict[i])),
      element("span", { className: "mark", title: words }, element("span", { className: "hidden" }, words), element("span", { ariaHidden: "true" }, mark)));
    row.dataset.index = i;
    row.style.top = `${place * ROW_HEIGHT}px`;
    row.querySelector("i").style.height = `${Math.round(100 * s.doubt[i])}%`;
    row.setAttribute("aria-selected", String(i === this.current));
    row.setAttribute("aria-setsize", this.shown.length);
    row.setAttribute("aria-posinset", place + 1);
    return row;
  }

  show(index) {
    this.current = index;
    const place = this.shown.indexOf(index);
    if (place >= 0) {
      const top = place * ROW_HEIGHT;
      const { scrollTop, clientHeight } = this.list;
      if (top < scrollTop) this.list.scrollTop = top;
      else if (top + ROW_HEIGHT > scrollTop + clientHeight) this.list.scrollTop = top + ROW_HEIGHT - clientHeight;
    }
    this.draw();
  }

  // The stem to listen to next: the one that the server names, if the filters let it pass.
  following() {
    const { next, decided } = this.stems;
    if (next !== null && next !== this.current && !decided[next] && this.shown.includes(next)) return next;
    return this.neighbour(1, true);
  }

  // The stem `by` places on; with `open`, the next one that nobody has decided about.
  neighbour(by, open = false) {
    const from = this.shown.indexOf(this.current);
    if (!open) return this.shown[Math.min(this.shown.length - 1, Math.max(0, from + by))] ?? null;
    for (let step = 1; step <= this.shown.length; step++) {
      const index = this.shown[(from + step) % this.shown.length];
      if (!this.stems.decided[index] && this.stems.verdict[index] !== "failed") return index;
    }
    return this.neighbour(1);
  }
}
