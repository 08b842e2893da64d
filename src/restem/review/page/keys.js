// One key each. A key pressed in a text field belongs to the field; one with ctrl, alt or meta to the browser.

const writes = (target) => target.matches("input:not([type=radio], [type=range]), select, textarea");
// Space is a letter only where text is written: nowhere does it press a button again that was clicked before.
const spells = (target) => target.matches("input:not([type=radio], [type=range], [type=number]), textarea");
const helping = () => document.querySelector("dialog[open]");

// Which class a key switches: 1 to 9 the first nine, with shift the next nine. Where digits need shift, they are digits.
function classOf({ key, code, shiftKey }) {
  if (/^[1-9]$/.test(key)) return Number(key) - 1;
  return shiftKey && /^Digit[1-9]$/.test(code) ? 8 + Number(code.at(-1)) : null;
}

// The key of a class as it is written on its button.
export const keyOfClass = (i) => (i < 9 ? String(i + 1) : i < 18 ? `⇧${i - 8}` : "");

// actions: name -> function. classes: how many can be switched.
export function listen(actions, classes) {
  const keys = {
    " ": "play", j: "next", k: "previous", ArrowDown: "next", ArrowUp: "previous",
    a: "accept", u: "unsure", z: "undo", l: "loop", s: "suspicious", r: "target", m: "mix",
    "[": "begin", "]": "end", "/": "search", "?": "help",
    "+": "closer", "=": "closer", "-": "farther", 0: "whole", x: "zoomLoop", ",": "slower", ".": "faster", e: "match",
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { target, key } = event;
    if (key === "Escape" && writes(target)) {
      target.blur();
      document.getElementById("stem").focus();
      return;
    }
    if (helping() || (key === " " ? spells(target) : writes(target))) return;
    // A choice is moved by arrows, as everywhere.
    if (key.startsWith("Arrow") && target.matches("input[type=radio], input[type=range]")) return;
    const number = classOf(event);
    let action = null;
    if (key === "ArrowLeft" || key === "ArrowRight") {
      const by = (key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 2);
      action = () => actions.skip(by);
    } else if (number !== null) {
      if (number < classes) action = () => actions.toggle(number);
    } else if (Object.hasOwn(keys, key)) action = actions[keys[key]];
    if (!action) return;
    event.preventDefault();
    action();
  });
  // Some browsers press a focused button when space is let go.
  addEventListener("keyup", (event) => {
    if (event.key === " " && !helping() && !spells(event.target)) event.preventDefault();
  });
  // After a click, keys are about the stem again. A click by key has no place on the screen: the focus stays.
  const toStem = () => document.getElementById("stem").focus({ preventScroll: true });
  addEventListener("click", (event) => {
    if (event.detail && !helping() && event.target.closest("button, [type=radio], [type=range], [role=option], #plot, #list")) toStem();
  });
  for (const list of document.querySelectorAll("select")) list.addEventListener("change", toStem);
}
