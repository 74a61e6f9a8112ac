"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// the theme of the system, until the button says otherwise
const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = document.getElementById("theme");
const paint = (on) => {
  document.documentElement.dataset.theme = on ? "dark" : "light";
  theme.textContent = on ? "light" : "dark";
};
paint(dark.matches);
dark.addEventListener("change", (event) => paint(event.matches));
theme.addEventListener("click", () => paint(document.documentElement.dataset.theme !== "dark"));

// a head sorts its table's rows: by number where the cells have one, missing ones last; again: the other way
const value = (row, index) => {
  const cell = row.cells[index];
  const number = parseFloat(cell.dataset.v ?? cell.textContent);
  return Number.isNaN(number) ? cell.textContent : number;
};
const order = (a, b) => {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b);
  return 0;
};
const sort = (head) => {
  const body = head.closest("table").tBodies[0];
  const up = head.ariaSort === "descending" || (head.ariaSort === null && !body.rows[0]?.cells[head.cellIndex].dataset.v);
  all("th", head.parentNode).forEach((other) => other.removeAttribute("aria-sort"));
  head.ariaSort = up ? "ascending" : "descending";
  const rows = [...body.rows].map((row) => [value(row, head.cellIndex), row]);
  const numeric = rows.some(([key]) => typeof key === "number");
  const last = (key) => numeric && typeof key !== "number";
  rows.sort(([a], [b]) => last(a) - last(b) || (up ? order(a, b) : order(b, a)));
  body.append(...rows.map(([, row]) => row));
};
for (const head of all("table:not(.matrix) thead th")) {
  head.tabIndex = 0;
  head.addEventListener("click", () => sort(head));
  head.addEventListener("keydown", (event) => event.key === "Enter" && sort(head));
}

// a button hides its method in the figures and tables of its section; the filter hides table rows without its text
for (const button of all(".toolbar button")) {
  button.addEventListener("click", () => {
    const shown = button.ariaPressed === "false";
    button.ariaPressed = String(shown);
    for (const one of all("svg [data-m], tr[data-m]", button.closest("section")))
      if (one.dataset.m === button.dataset.m) one.classList.toggle("off", !shown);
  });
}
for (const filter of all("input")) {
  filter.addEventListener("input", () => {
    const text = filter.value.toLowerCase();
    for (const row of all("tbody tr", filter.closest("section")))
      row.hidden = !row.textContent.toLowerCase().includes(text);
  });
}

// a click on a curve, or 4 pixels beside it, shows or hides its seeds; on a seed marks it and says which it is
const hit = (event) => {
  for (const [x, y] of [[0, 0], [0, 4], [0, -4], [4, 0], [-4, 0]]) {
    const found = document.elementFromPoint(event.clientX + x, event.clientY + y)?.closest("svg [data-m]");
    if (found) return found;
  }
  return null;
};
for (const figure of all("figure:has([data-seed])")) {
  figure.querySelector("svg").addEventListener("click", (event) => {
    const curve = hit(event);
    if (!curve) return;
    const { m, seed } = curve.dataset;
    const seeds = all("[data-seed]", figure).filter((one) => one.dataset.m === m);
    if (seed === undefined) {
      const on = !seeds.some((one) => one.classList.contains("on"));
      seeds.forEach((one) => one.classList.toggle("on", on));
    } else {
      seeds.filter((one) => one.dataset.seed === seed).forEach((one) => one.classList.toggle("marked"));
      const marked = all(".marked", figure).map((one) => `${one.dataset.m}, seed ${one.dataset.seed}`);
      figure.querySelector("small").textContent = ` · ${[...new Set(marked)].join("; ") || "no seed marked"}`;
    }
  });
}

// the outline shows where the reader is
const links = new Map(all("nav a").map((link) => [decodeURIComponent(link.hash.slice(1)), link]));
const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) links.get(entry.target.id)?.classList.toggle("here", entry.isIntersecting);
}, { rootMargin: "-20% 0px -75% 0px" });
all("main > section").forEach((section) => watch.observe(section));
