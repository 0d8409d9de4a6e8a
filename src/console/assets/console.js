// What a page without scripts does by itself is not here: this copies, ticks, and submits on change.
"use strict";
document.documentElement.classList.add("js");

const boxes = () => [...document.querySelectorAll("input[name=account]:not(:disabled)")];

function count() {
  const ticked = boxes().filter((box) => box.checked).length;
  for (const menu of document.querySelectorAll("[data-needs-ticks]")) {
    menu.querySelector("summary").setAttribute("aria-disabled", ticked === 0);
    if (ticked === 0) menu.open = false;
  }
  const all = document.querySelector("[data-tick-all]");
  if (all) {
    all.checked = ticked > 0 && ticked === boxes().length;
    all.indeterminate = ticked > 0 && !all.checked;
    all.disabled = boxes().length === 0;
  }
  const said = document.querySelector("[data-ticked]");
  const text = ticked ? `${ticked} selected` : "";
  // Only when it differs: every text set is a mutation, and each of those counts again.
  if (said && said.textContent !== text) said.textContent = text;
}

async function copy(button) {
  const from = document.querySelector(button.dataset.copy);
  const label = button.innerHTML;
  try {
    await navigator.clipboard.writeText(from.value ?? from.textContent);
    button.textContent = "Copied";
  } catch {
    if (from.select) from.select();
    button.textContent = "Press Ctrl-C";
  }
  setTimeout(() => { button.innerHTML = label; }, 2000);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  if (event.target.closest("summary[aria-disabled=true]")) event.preventDefault();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-tick-all]")) for (const box of boxes()) box.checked = event.target.checked;
  if (event.target.matches("input[type=checkbox]")) count();
  event.target.closest("[data-submit-on-change]")?.requestSubmit();
});
// Showing and hiding exchange the button that was pressed: who pressed it by keyboard goes on where they were.
let inCredential = false;
document.addEventListener("focusin", (event) => { inCredential = event.target.closest("#credential") !== null; });
function land() {
  if (inCredential && document.activeElement === document.body) document.querySelector("#credential [data-land]")?.focus();
}
// What htmx cannot have is said above the page, and gone with the next request; what was typed stays.
const problem = document.querySelector("#problem");
document.addEventListener("htmx:before:request", () => problem.replaceChildren());
document.addEventListener("htmx:error", (event) => {
  if (!event.detail.ctx) return;
  const line = document.createElement("div");
  line.className = "notice bad";
  line.textContent = "The console does not answer. Try again in a moment: what you typed is still here.";
  problem.replaceChildren(line);
  problem.scrollIntoView();
});
// A page that comes back from the browser's memory must not show a secret again.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
new MutationObserver(() => { count(); land(); }).observe(document.querySelector("#main"), { childList: true, subtree: true });
count();
