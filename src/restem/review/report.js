"use strict";
// Filters and sorts the stems. The page is complete without it; the controls only show when it runs.
(() => {
  const controls = document.getElementById("controls");
  const search = document.getElementById("search");
  const sort = document.getElementById("sort");
  const items = [...document.querySelectorAll("[data-verdict]")];
  if (!items.length) return;

  const boxes = ["changed", "unsure", "silent", "failed"].flatMap((verdict) => {
    const count = items.filter((item) => item.dataset.verdict === verdict).length;
    if (!count) return [];
    const label = document.createElement("label");
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", checked: true, value: verdict });
    label.append(box, ` ${verdict} ${count}`);
    document.getElementById("verdicts").append(label);
    return box;
  });

  const filter = () => {
    const verdicts = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const fits = verdicts.has(item.dataset.verdict) && words.every((word) => item.dataset.text.includes(word));
      item.hidden = !fits;
      shown += fits;
    }
    document.getElementById("count").value = `${shown} of ${items.length} stems`;
  };

  const order = () => {
    const key = sort.value;
    for (const parent of new Set(items.map((item) => item.parentNode))) {
      const own = items.filter((item) => item.parentNode === parent);
      own.sort((a, b) => a.dataset[key] - b.dataset[key] || a.dataset.row - b.dataset.row);
      parent.append(...own);
    }
  };

  controls.addEventListener("input", filter);
  controls.addEventListener("submit", (event) => event.preventDefault());
  sort.addEventListener("change", order);
  controls.hidden = false;
  filter();
})();
