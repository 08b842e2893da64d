// One key each. A key pressed in a text field belongs to the field; one with ctrl, alt or meta to the browser.

const writes = (target) => target.matches("input:not([type=radio]), select, textarea");

// actions: name -> function. classes: how many can be switched.
export function listen(actions, classes) {
  const keys = {
    " ": "play", j: "next", k: "previous", ArrowDown: "next", ArrowUp: "previous",
    a: "accept", u: "unsure", z: "undo", l: "loop", s: "suspicious", r: "target", m: "mix",
    "[": "begin", "]": "end", "/": "search", "?": "help",
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { target, key } = event;
    if (key === "Escape" && writes(target)) {
      target.blur();
      document.getElementById("stem").focus();
      return;
    }
    if (document.querySelector("dialog[open]") || writes(target)) return;
    // A focused button is pressed by space, and a choice moved by arrows, as everywhere.
    if (key === " " && target.matches("button")) return;
    if (key.startsWith("Arrow") && target.matches("input[type=radio]")) return;
    const number = Number(key);
    let action = null;
    if (key === "ArrowLeft" || key === "ArrowRight") {
      const by = (key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 2);
      action = () => actions.skip(by);
    } else if (key !== " " && Number.isInteger(number) && number >= 1 && number <= Math.min(9, classes)) {
      action = () => actions.toggle(number - 1);
    } else if (Object.hasOwn(keys, key)) action = actions[keys[key]];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
