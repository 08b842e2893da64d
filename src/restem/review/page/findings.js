// The page of findings: hear what was found, from two sides where there are two, and say whether it is real.

import { findings as askFindings, finding as askFinding, judge as tellJudgement } from "./api.js";
import { clock, counted, element } from "./format.js";
import { Player } from "./player.js";
import { whenPicked } from "./rows.js";

const ROW_HEIGHT = 54;
const BEYOND = 6; // rows above and below what can be seen
const MESSAGE_MS = 5000;
const LEAD_IN_S = 0.5; // heard before what was found

const get = (id) => document.getElementById(id);
const player = new Player();
player.loop = null;

let all; // the answer of api.findings(): columns
let shown = []; // rows of the findings that the filters let pass
let current = null; // the row of the selected one
let sides = []; // what can be heard of it
let asked = 0; // how often a finding was asked for: a late answer is not shown

const soundKey = (side) => `findings/${current}/${side}`;

async function start() {
  all = await askFindings();
  get("dataset").textContent = all.name;
  document.title = `${all.name} · restem findings`;
  get("person").value = localStorage.getItem("restem-person") ?? all.person_name;
  get("person").addEventListener("change", () => localStorage.setItem("restem-person", get("person").value));
  for (const kind of Object.keys(all.kinds)) {
    const count = all.kind.filter((one) => one === kind).length;
    if (count) get("kind").append(element("option", { value: kind }, `${kind} (${count.toLocaleString("en")})`));
  }
  filter();
  if (shown.length) await select(shown[0]);
  document.documentElement.dataset.ready = "true";
}

function filter() {
  const words = get("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kind = get("kind").value;
  const judged = get("judged").value;
  shown = [...all.kind.keys()].filter((i) =>
    (!kind || all.kind[i] === kind) &&
    (!judged || (judged === "open" ? !all.judged[i] : all.judged[i] === judged)) &&
    words.every((word) => `${all.song[i]} ${all.stem[i]} ${all.kind[i]} ${all.message[i]}`.toLowerCase().includes(word)));
  get("rows").style.height = `${shown.length * ROW_HEIGHT}px`;
  const total = counted(all.kind.length, "finding");
  get("count").textContent = shown.length === all.kind.length ? total : `${shown.length.toLocaleString("en")} of ${total}`;
  draw();
}

function draw() {
  const list = get("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - BEYOND);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + BEYOND);
  const rows = [];
  for (let place = first; place < last; place++) rows.push(row(shown[place], place));
  get("rows").replaceChildren(...rows);
  if (rows.some((one) => one.id === `row-${current}`)) list.setAttribute("aria-activedescendant", `row-${current}`);
  else list.removeAttribute("aria-activedescendant");
  const done = all.judged.filter(Boolean).length;
  get("progress").max = all.judged.length || 1;
  get("progress").value = done;
  get("progress-text").textContent = `${done.toLocaleString("en")} of ${all.judged.length.toLocaleString("en")} decided`;
}

function row(i, place) {
  const judged = all.judged[i];
  const words = { real: "real", ignore: "ignored" }[judged] ?? "not decided";
  const made = element("div", { id: `row-${i}`, role: "option", className: `row ${judged ? "done" : ""} ${judged === "ignore" ? "ignored" : ""}` },
    element("span", { className: "what" },
      element("b", {}, all.stem[i] || "mixture"), element("small", {}, all.song[i])),
    element("span", { className: "kind" }, all.kind[i]),
    element("span", { className: `mark ${judged}`, title: words },
      element("span", { className: "hidden" }, words), element("span", { ariaHidden: "true" }, { real: "✓", ignore: "–" }[judged] ?? "")));
  made.dataset.index = i;
  made.style.top = `${place * ROW_HEIGHT}px`;
  made.setAttribute("aria-selected", String(i === current));
  made.setAttribute("aria-setsize", shown.length);
  made.setAttribute("aria-posinset", place + 1);
  return made;
}

async function select(index) {
  if (index === null || index === undefined) return;
  current = index;
  const turn = ++asked;
  player.clear();
  player.lead = undefined;
  sides = [];
  show();
  reveal();
  const answer = await attempt(askFinding(index), get("sound-problem"));
  if (turn !== asked || !answer) return;
  sides = answer.sides;
  showSides();
  player.choose(soundKey(0), sides.map((_, side) => soundKey(side)), beginning(), {});
  document.body.dataset.finding = index;
}

// Where to begin: of a stretch that both sides share, at once; else a little before what was found.
const shared = () => all.kind[current] === "duplicate" || all.kind[current] === "leak";
const beginning = () => (shared() ? 0 : Math.max(0, (all.start_s[current] ?? 0) - LEAD_IN_S));

function reveal() {
  const list = get("list");
  const top = shown.indexOf(current) * ROW_HEIGHT;
  if (top >= 0 && top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW_HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_HEIGHT - list.clientHeight;
  draw();
}

function show() {
  get("empty").hidden = true;
  get("detail").hidden = false;
  get("sound-problem").hidden = true;
  get("song-name").textContent = all.song[current];
  get("stem-name").textContent = all.stem[current] || "mixture";
  get("badge").textContent = all.kind[current];
  const from = all.start_s[current];
  const when = from === null ? "" : `, ${clock(from, 1)} to ${clock(all.end_s[current] ?? from, 1)}`;
  get("message-text").textContent = `${all.message[current]}${when}`;
  get("meaning").textContent = `${all.kind[current]}: ${all.kinds[all.kind[current]]}`;
  get("sides").replaceChildren();
  get("mark").hidden = true;
  showJudged();
}

function showJudged() {
  const judged = all.judged[current];
  for (const one of ["real", "ignore"]) {
    get(one).setAttribute("aria-pressed", String(judged === one));
    get(one).disabled = !all.audit;
  }
  get("decided").textContent = !all.audit
    ? "Decisions are kept with an audit: restem audit DATASET --out AUDIT, then restem review RUN --audit AUDIT."
    : { real: `Real, says ${all.person[current] || "somebody"}.`, ignore: `Ignored by ${all.person[current] || "somebody"}: the audit is used without it.` }[judged] ?? "Not decided yet.";
}

function showSides() {
  get("sides").replaceChildren(...sides.map((side, i) => {
    const made = element("button", { type: "button", role: "radio" },
      element("kbd", {}, String(i + 1)), element("span", {}, element("b", {}, side.name), element("small", {}, clock(side.seconds, 1))));
    made.addEventListener("click", () => hear(i));
    return made;
  }));
  markSides(0);
  const longest = Math.max(...sides.map((side) => side.seconds));
  get("position").max = longest;
  const from = all.start_s[current];
  get("mark").hidden = from === null || shared();
  if (from !== null) {
    get("mark").style.left = `${(100 * from) / longest}%`;
    get("mark").style.width = `${(100 * ((all.end_s[current] ?? from) - from)) / longest}%`;
  }
}

function markSides(heard) {
  [...get("sides").children].forEach((one, i) => one.setAttribute("aria-checked", String(i === heard)));
}

function hear(side) {
  if (side >= sides.length) return;
  player.listen([soundKey(side)]);
  markSides(side);
}

async function judge(judged) {
  if (current === null || !all.audit) return;
  const index = current;
  const taken = all.judged[index] === judged ? "" : judged; // the same again takes it back
  const answer = await attempt(tellJudgement(index, { judged: taken, person: get("person").value }));
  if (!answer) return;
  all.judged[index] = answer.judged;
  all.person[index] = answer.person;
  showJudged();
  draw();
  if (taken) say(taken === "real" ? "Real." : "Ignored.");
}

// The finding `by` places on among those that are shown.
function neighbour(by) {
  const from = shown.indexOf(current);
  return shown[Math.min(shown.length - 1, Math.max(0, from + by))] ?? null;
}

const actions = {
  " ": () => sides.length && player.toggle(),
  b: () => player.seek(beginning()),
  r: () => judge("real"),
  i: () => judge("ignore"),
  j: () => select(neighbour(1)),
  k: () => select(neighbour(-1)),
  ArrowDown: () => select(neighbour(1)),
  ArrowUp: () => select(neighbour(-1)),
  ArrowLeft: () => player.seek(player.time - 2),
  ArrowRight: () => player.seek(player.time + 2),
  "/": () => get("search").focus(),
};

const writes = (target) => target.matches("input:not([type=range]), select");
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape" && writes(event.target)) return get("stem").focus();
  if (writes(event.target) || (event.key.startsWith("Arrow") && event.target.matches("input[type=range]"))) return;
  const action = /^[1-9]$/.test(event.key) ? () => hear(Number(event.key) - 1) : actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
// Some browsers press a focused button when space is let go.
addEventListener("keyup", (event) => event.key === " " && !writes(event.target) && event.preventDefault());
// After a click, keys are about the finding again.
addEventListener("click", (event) => event.detail && event.target.closest("button, [role=option]") && get("stem").focus({ preventScroll: true }));
for (const [id, key] of [["play", " "], ["begin", "b"], ["real", "r"], ["ignore", "i"], ["next", "j"], ["previous", "k"]]) {
  get(id).addEventListener("click", () => actions[key]());
}
for (const id of ["search", "kind", "judged"]) get(id).addEventListener("input", filter);
get("filters").addEventListener("submit", (event) => event.preventDefault());
get("list").addEventListener("scroll", draw, { passive: true });
new ResizeObserver(() => all && draw()).observe(get("list"));
whenPicked(get("rows"), select);
get("volume").addEventListener("input", () => player.set({ volume: get("volume").valueAsNumber }));
get("position").addEventListener("input", () => player.seek(get("position").valueAsNumber));

function showTime() {
  get("clock").value = clock(player.time, 1);
  get("position").value = player.time;
}
player.addEventListener("tick", showTime);
player.addEventListener("change", () => {
  get("play").querySelector("span").textContent = player.playing ? "Pause" : "Play";
  showTime();
});
player.addEventListener("problem", () => {
  get("sound-problem").textContent = "This sound cannot be played.";
  get("sound-problem").hidden = false;
});

let fading;
function say(text) {
  get("message").textContent = text;
  get("message").classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => get("message").classList.remove("shown"), MESSAGE_MS);
}

// The answer, or null after telling what went wrong; in a place of its own if there is one.
async function attempt(promise, place) {
  try {
    return await promise;
  } catch (error) {
    if (place) Object.assign(place, { textContent: error.message, hidden: false });
    else say(error.message);
    return null;
  }
}

start().catch((error) => say(error.message));
