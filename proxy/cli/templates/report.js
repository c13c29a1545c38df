// Searching, choosing and sorting in the report of a warming. Without this script every row is there, in its group.
// It only hides, shows and moves elements of the page: it makes no markup and asks for nothing.
"use strict";

const tools = document.querySelector(".tools");
const search = document.querySelector("#search");
const group = document.querySelector("#group");
const order = document.querySelector("#order");
const told = document.querySelector("#told");
const nothing = document.querySelector("#nothing");
const collator = new Intl.Collator(undefined, { numeric: true });

const sections = [...document.querySelectorAll("section[data-group]")].map((element) => ({
  element,
  count: element.querySelector(".shown"),
  details: element.querySelector("details"),
  body: element.querySelector("tbody"),
  heads: [...element.querySelectorAll("thead th")],
  rows: [...element.querySelectorAll("tbody tr")].map((row) => ({ row, text: "" })),
}));
const total = sections.reduce((sum, section) => sum + section.rows.length, 0);

function textOf(item) {
  item.text ||= item.row.textContent.toLowerCase();
  return item.text;
}

function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const section of sections) {
    const chosen = group.value === "" || group.value === section.element.dataset.group;
    let here = 0;
    for (const item of section.rows) {
      const matches = chosen && (words.length === 0 || words.every((word) => textOf(item).includes(word)));
      if (item.row.hidden === matches) item.row.hidden = !matches;
      here += matches;
    }
    section.element.hidden = here === 0;
    section.count.textContent = here === section.rows.length ? "" : `${here} of `;
    if (section.details && words.length > 0 && here > 0) section.details.open = true;
    found += here;
  }
  told.textContent = found === total ? `${total} rows` : `${found} of ${total} rows`;
  nothing.hidden = found > 0;
}

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function sort(section, column, direction) {
  const keyed = section.rows.map((item) => ({ item, key: keyOf(item.row, column) }));
  keyed.sort((one, other) => direction * collator.compare(one.key, other.key));
  section.rows = keyed.map(({ item }) => item);
  section.body.append(...section.rows.map(({ row }) => row));
  section.heads.forEach((head, index) => {
    if (index === column) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  });
}

for (const section of sections) {
  section.heads.forEach((head, column) => {
    if (!("sort" in head.dataset)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      sort(section, column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1);
    });
  });
}

order.addEventListener("change", () => {
  for (const section of sections) {
    const column = section.heads.findIndex((head) => head.dataset.sort === order.value);
    if (column >= 0) sort(section, column, 1);
  }
});
let waiting = 0;
search.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(show, total > 2000 ? 200 : 0);
});
group.addEventListener("change", show);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement === search && search.value) {
    search.value = "";
    show();
  }
});

tools.hidden = false;
show();
