// Which row of a list is clicked. A row carries its number as data-index.

// Calls `pick` with the number. Rows may be drawn anew between the two halves of a click; then there is no click.
export function whenPicked(rows, pick) {
  const indexOf = (event) => event.target.closest("[data-index]")?.dataset.index;
  let pressed;
  rows.addEventListener("pointerdown", (event) => pressed = event.button ? undefined : indexOf(event));
  rows.addEventListener("pointerup", (event) => {
    if (pressed !== undefined && pressed === indexOf(event)) pick(Number(pressed));
    pressed = undefined;
  });
  // A screen reader clicks without pressing anything.
  rows.addEventListener("click", (event) => {
    if (event.detail === 0 && indexOf(event) !== undefined) pick(Number(indexOf(event)));
  });
}
