"use strict";
// Filters and sorts the stems, and sorts tables by a click on their heads. The page is complete without it.
(() => {
  const value = (row, column) => {
    const written = row.cells[column].textContent.trim();
    const number = parseFloat(written.replace(/,/g, "").replace("−", "-").replace(/^\+/, ""));
    return Number.isNaN(number) ? written.toLowerCase() : number;
  };
  const compare = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.classList.contains("wide")) return;
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

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
    document.getElementById("count").value = `${shown} of ${items.length} stem${items.length === 1 ? "" : "s"}`;
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
