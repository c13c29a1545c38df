// What pages of the desk can do besides working: a slider over two pictures, buttons that copy, live jobs.

// On a phone the navigation scrolls sideways: show the present page in it.
document.querySelector(".pages [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

function slider(compare) {
  const [before, after] = compare.querySelectorAll("img");
  const top = before.cloneNode();
  const captions = [...compare.querySelectorAll("figcaption")];
  const card = document.createElement("div");
  card.className = "card both";
  const stage = document.createElement("div");
  stage.className = "slider";
  const line = document.createElement("div");
  line.className = "line";
  const range = document.createElement("input");
  Object.assign(range, { type: "range", min: 0, max: 100, value: 50 });
  range.setAttribute("aria-label", "How much of the original is shown, beside the result");
  stage.append(after.cloneNode(), top, line);
  const move = () => {
    top.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
    line.style.left = `${range.value}%`;
  };
  range.addEventListener("input", move);
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse" && !event.buttons) return;
    const box = stage.getBoundingClientRect();
    range.value = Math.round(((event.clientX - box.left) / box.width) * 100);
    move();
  });
  card.append(stage, range, ...captions.map((caption) => {
    const text = document.createElement("p");
    text.className = "hint";
    text.append(...[...caption.childNodes].map((node) => node.cloneNode(true)));
    return text;
  }));
  move();
  return card;
}

for (const compare of document.querySelectorAll("[data-compare]")) {
  const sideBySide = [...compare.children];
  const overlaid = slider(compare);
  const choice = document.createElement("div");
  choice.className = "actions";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Lay one over the other";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const sliding = compare.classList.toggle("sliding");
    compare.replaceChildren(...(sliding ? [overlaid] : sideBySide));
    button.setAttribute("aria-pressed", String(sliding));
    button.textContent = sliding ? "Show side by side" : "Lay one over the other";
  });
  choice.append(button);
  compare.before(choice);
}

for (const field of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(field.value);
    button.textContent = "Copied";
  });
  field.after(button);
}

// Empty fields of a form would make its address long.
for (const form of document.querySelectorAll("form[data-trim]")) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
  });
  addEventListener("pageshow", () => {
    for (const field of form.elements) field.disabled = false;
  });
}

// Jobs show their progress live. Each event carries a job as the service would write it into the page.
for (const list of document.querySelectorAll("[data-events]")) {
  const events = new EventSource(list.dataset.events);
  events.addEventListener("job", (event) => {
    const { id, html } = JSON.parse(event.data);
    const made = new DOMParser().parseFromString(html, "text/html").querySelector("li");
    const shown = document.getElementById(id);
    const open = shown?.querySelector("details")?.open ?? false;
    const details = made.querySelector("details");
    if (details) details.open = open;
    if (shown) shown.replaceWith(made);
    else list.prepend(made);
  });
  addEventListener("pagehide", () => events.close());
}
