// The page: what a person does, and what follows from it.

import * as api from "./api.js";
import { Detail } from "./detail.js";
import { clock, labelSet, split } from "./format.js";
import { listen } from "./keys.js";
import { Player } from "./player.js";
import { Plot } from "./plot.js";
import { Queue } from "./queue.js";

const LOOK_EVERY_MS = 3000; // for what others decide
const MESSAGE_MS = 5000;
const STEMS_AT_ONCE = 20000; // of the list, some 2 MB
const LEAST_RANGE_S = 0.05;

const get = (id) => document.getElementById(id);
const player = new Player();
const plot = new Plot(player);
const queue = new Queue((index) => inTurn(() => select(index)));
const detail = new Detail({
  toggle: (name) => inTurn(() => toggle(name)),
  select: (index) => inTurn(() => select(index, player.time)),
  solo: (index) => hear([index]),
  mute: (index) => hear(player.heard.has(index) ? [...player.heard].filter((one) => one !== index) : [...player.heard, index]),
  undo: (number) => inTurn(() => undo(number)),
});

let about; // of the run
let stem; // the selected one
let turn = Promise.resolve();
let waiting = 0;
const mine = []; // numbers of the decisions made on this page, to undo

async function start() {
  about = await api.run();
  get("dataset").textContent = about.name;
  get("to-findings").hidden = !about.findings;
  document.title = `${about.name} · restem review`;
  get("person").value = localStorage.getItem("restem-person") ?? about.person;
  get("person").addEventListener("change", () => localStorage.setItem("restem-person", get("person").value));
  const first = await api.stems(0, STEMS_AT_ONCE);
  queue.load(first, about.classes);
  listen(actions, about.classes.length);
  showRemaining();
  if (queue.shown.length) await select(queue.following() ?? queue.shown[0]);
  setInterval(() => document.hidden || inTurn(look), LOOK_EVERY_MS);
  document.documentElement.dataset.ready = "true";
  await loadRest(first);
}

// The list grows while the first stems are being heard.
async function loadRest({ last, total }) {
  for (let from = STEMS_AT_ONCE; from < total; from += STEMS_AT_ONCE) queue.add(await api.stems(from, STEMS_AT_ONCE, last));
  queue.offerSongs();
}

// Does one thing after another, in the order in which the keys were pressed: what a key means depends on what the one
// before it did, however fast they come.
function inTurn(action) {
  waiting += 1;
  document.body.setAttribute("aria-busy", "true");
  turn = turn.then(action).catch((error) => say(error.message)).finally(() => {
    waiting -= 1;
    if (!waiting) document.body.removeAttribute("aria-busy");
  });
  return turn;
}

// at_s: where to play from; by default the most suspicious stretch.
async function select(index, at_s) {
  if (index === null || index === undefined) return;
  queue.show(index);
  const wanted = await attempt(api.stem(index));
  if (!wanted) return;
  stem = wanted;
  const failed = stem.found.verdict === "failed";
  setLoop(stem.loop);
  get("sound-problem").hidden = true;
  if (failed) player.clear();
  else player.choose(index, [index, ...stem.others], at_s ?? stem.loop?.[0] ?? 0, stem.levels);
  get("play").disabled = failed;
  document.querySelector("input[name=target][value=whole]").checked = true;
  show();
  if (!failed) draw(index);
}

async function draw(index) {
  const picture = await attempt(api.spectra(index));
  if (picture && stem.index === index) plot.picture(picture);
  const after = queue.following();
  if (after !== null && after !== index) api.spectra(after).catch(() => {});
}

function show() {
  detail.show(stem, about.classes, shownLabels());
  detail.showOthers(stem, queue.stems, player.heard);
  plot.show(stem, about.classes);
}

// What the buttons are about: the whole stem, or only the time of the loop.
const ofRange = () => document.querySelector("input[name=target]:checked").value === "range" && player.loop;

function shownLabels() {
  const range = ofRange();
  const said = range && stem.ranges.findLast(([from, to]) => Math.abs(from - range[0]) < LEAST_RANGE_S && Math.abs(to - range[1]) < LEAST_RANGE_S);
  return split(said ? said[2] : stem.refined);
}

function toggle(name) {
  const labels = new Set(shownLabels());
  if (!labels.delete(name)) labels.add(name);
  return decide(about.classes.filter((one) => labels.has(one)).join("+"));
}

// new: a written label set, or null for "I cannot tell".
function decide(labels) {
  const { index, found } = stem;
  if (found.verdict === "failed") return false;
  const range = labels !== null && ofRange();
  const decision = { index, new: labels, person: get("person").value };
  if (range) Object.assign(decision, { start_s: range[0], end_s: range[1] });
  return send(() => api.decide(decision), (made) => mine.push(made.number));
}

function undo(number = mine.at(-1)) {
  const what = { person: get("person").value };
  if (number !== undefined) what.number = number;
  return send(() => api.undo(what), async (undone) => {
    mine.splice(0, mine.length, ...mine.filter((one) => one !== undone.number));
    say("Undone.");
    if (undone.index !== stem.index) await select(undone.index);
    // What was said about a time is said again about that time.
    if (undone.range && stem.index === undone.index) {
      setLoop(undone.range);
      document.querySelector("input[name=target][value=range]").checked = true;
    }
  });
}

async function showRemaining() {
  const left = await api.remaining().catch(() => null);
  if (left) queue.showRemaining(left);
}

async function send(request, then) {
  const answer = await attempt(request());
  if (!answer) return false;
  queue.stems.next = answer.next;
  queue.update(answer.index, answer.stem);
  await then(answer);
  showRemaining();
  if (stem.index === answer.index) await refresh();
  return true;
}

async function refresh() {
  const fresh = await attempt(api.stem(stem.index));
  if (!fresh) return;
  stem = fresh;
  show();
}

// Others may have decided, here in another tab or elsewhere.
async function look() {
  const news = await api.changes(queue.stems.last).catch(() => null);
  if (!news) return;
  queue.stems.last = news.last;
  queue.stems.next = news.next;
  for (const [index, row] of Object.entries(news.stems)) queue.update(Number(index), row);
  if (Object.keys(news.stems).length) showRemaining();
  if (stem && news.stems[stem.index]) await refresh();
}

function setLoop(loop) {
  player.loop = loop && [Math.round(loop[0] * 1000) / 1000, Math.round(loop[1] * 1000) / 1000];
  get("from").value = loop ? loop[0].toFixed(1) : "";
  get("to").value = loop ? loop[1].toFixed(1) : "";
  get("range-text").textContent = loop ? `${clock(loop[0], 1)} to ${clock(loop[1], 1)}` : "a time";
  plot.drawMoving();
}

function changeLoop(from, to) {
  const end = Math.min(to, stem.seconds);
  if (!(from >= 0 && end - from >= LEAST_RANGE_S)) return;
  setLoop([from, end]);
  if (ofRange()) show();
}

function hear(indices) {
  player.listen(indices);
  detail.showOthers(stem, queue.stems, player.heard);
}

const actions = {
  play: () => stem && player.toggle(),
  skip: (by) => player.seek(player.time + by),
  next: () => select(queue.neighbour(1)),
  previous: () => select(queue.neighbour(-1)),
  toggle: (i) => toggle(about.classes[i]),
  accept: async () => {
    const labels = shownLabels().join("+");
    if ((stem.decided === "decided" && !ofRange()) || (await decide(labels))) {
      say(`${labelSet(labels)}: accepted.`);
      await select(queue.following());
    }
  },
  unsure: async () => {
    if (await decide(null)) await select(queue.following());
  },
  undo: () => undo(),
  loop: () => {
    player.looping = !player.looping;
    get("loop").setAttribute("aria-pressed", String(player.looping));
    plot.drawMoving();
  },
  suspicious: () => {
    setLoop(stem.loop);
    if (stem.loop) player.seek(stem.loop[0]);
    if (ofRange()) show();
  },
  begin: () => changeLoop(player.time, player.loop && player.loop[1] > player.time ? player.loop[1] : stem.seconds),
  end: () => changeLoop(player.loop && player.loop[0] < player.time ? player.loop[0] : 0, player.time),
  target: () => {
    document.querySelector(`input[name=target][value=${ofRange() ? "whole" : "range"}]`).checked = true;
    show();
  },
  mix: () => hear(get("mix").getAttribute("aria-pressed") === "true" ? [stem.index] : [stem.index, ...stem.others]),
  closer: () => plot.view.step(true, player.time),
  farther: () => plot.view.step(false, player.time),
  whole: () => plot.view.show(0, plot.seconds),
  zoomLoop: () => {
    if (!player.loop) return;
    const around = (player.loop[1] - player.loop[0]) / 4;
    plot.view.show(player.loop[0] - around, player.loop[1] + around);
  },
  slower: () => setSpeed(get("speed").selectedIndex - 1),
  faster: () => setSpeed(get("speed").selectedIndex + 1),
  match: () => {
    player.set({ matched: !player.matched });
    get("match").setAttribute("aria-pressed", String(player.matched));
  },
  search: () => get("search").focus(),
  help: () => get("help").showModal(),
};

for (const name of ["next", "previous", "toggle", "accept", "unsure", "undo", "target"]) {
  const action = actions[name];
  actions[name] = (...values) => inTurn(() => action(...values));
}
for (const [id, action] of [
  ["play", "play"], ["loop", "loop"], ["suspicious", "suspicious"], ["accept", "accept"], ["unsure", "unsure"], ["undo", "undo"],
  ["previous", "previous"], ["next", "next"], ["mix", "mix"], ["help-button", "help"],
  ["closer", "closer"], ["farther", "farther"], ["whole", "whole"], ["zoom-loop", "zoomLoop"], ["match", "match"],
]) get(id).addEventListener("click", () => actions[action]());
for (const id of ["from", "to"]) get(id).addEventListener("change", () => changeLoop(get("from").valueAsNumber, get("to").valueAsNumber));
for (const radio of document.querySelectorAll("input[name=target]")) radio.addEventListener("change", show);
plot.onloop = changeLoop;
plot.oncloser = async (from, to) => {
  const { index } = stem;
  const picture = await attempt(api.closer(index, from, to));
  if (picture && stem.index === index) plot.picture(picture);
};
get("volume").addEventListener("input", () => player.set({ volume: get("volume").valueAsNumber }));
get("speed").addEventListener("change", () => setSpeed(get("speed").selectedIndex));

function setSpeed(place) {
  const { options } = get("speed");
  get("speed").selectedIndex = Math.max(0, Math.min(options.length - 1, place));
  player.set({ speed: Number(get("speed").value) });
}

player.addEventListener("change", () => {
  get("play").querySelector("span").textContent = player.playing ? "Pause" : "Play";
  showTime();
});
player.addEventListener("tick", showTime);
player.addEventListener("problem", (event) => {
  if (!stem || event.detail !== stem.index) return;
  fetch(api.soundOf(event.detail)).then((answer) => (answer.ok ? {} : answer.json())).catch(() => ({})).then(({ error }) => {
    get("sound-problem").textContent = error ?? "This stem cannot be played by this browser.";
    get("sound-problem").hidden = false;
  });
});

function showTime() {
  get("clock").value = clock(player.time, 1);
}

let fading;
function say(text) {
  const box = get("message");
  box.textContent = text;
  box.classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => box.classList.remove("shown"), MESSAGE_MS);
}

// The answer, or null after telling what went wrong.
async function attempt(promise) {
  try {
    return await promise;
  } catch (error) {
    say(error.message);
    return null;
  }
}

start().catch((error) => say(error.message));
