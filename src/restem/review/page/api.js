// What the page asks the server, and what it says to it. Addresses are relative: the token is in the page's own.

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer; is restem review still running?");
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error ?? `The server refused (${answer.status}).`);
  return content;
}

const tell = (path, content) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });

export const run = () => ask("api/run");
// A part of the queue; `order` is the `last` of its first part.
export const stems = (first, count, order) =>
  ask(`api/stems?first=${first}&count=${count}${order === undefined ? "" : `&order=${order}`}`);
export const changes = (since) => ask(`api/changes?since=${since}`);
export const decide = (decision) => tell("api/decisions", decision);
export const undo = (what) => tell("api/undo", what);
export const findings = () => ask("api/findings");
export const finding = (index) => ask(`api/findings/${index}`);
export const judge = (index, judgement) => tell(`api/findings/${index}`, judgement);
export const soundOf = (index) => `api/sound/${index}`;

// The last few stems that were asked for, so that going on and back is instant, and memory stays flat.
const MOST_KEPT = 12;
const kept = new Map();

function remembered(key, make) {
  if (!kept.has(key)) {
    const promise = make();
    promise.catch(() => kept.delete(key));
    kept.set(key, promise);
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(key);
}

export const stem = (index) => ask(`api/stems/${index}`);
export const remaining = () => ask("api/remaining");
// Of a part of a stem, which is not kept.
export const closer = (index, from, to) => ask(`api/spectra/${index}?start_s=${from}&end_s=${to}`);
export const spectra = (index) => remembered(index, () => ask(`api/spectra/${index}`));
