// Keyboard shortcuts only; everything works without this file.
"use strict";

const rows = [...document.querySelectorAll("tr[data-case] a.open")];

function move(by) {
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  rows[Math.min(rows.length - 1, Math.max(0, at + by))].focus();
}

function blink() {
  for (const field of document.querySelectorAll(".overlay")) {
    const on = field.querySelector(".show-blink");
    (on.checked ? field.querySelector(".show-mine") : on).checked = true;
  }
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=radio]), textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey || typing) {
    if (typing && event.key === "Escape") event.target.blur();
    return;
  }
  const verdict = document.querySelectorAll(".decide input[name=verdict]")[Number(event.key) - 1];
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "b") blink();
  else if (event.key === "u") document.querySelector("a.back")?.click();
  else if (event.key === "/") document.querySelector("input[type=search]")?.focus();
  else if (verdict) verdict.checked = true, document.querySelector("#reason").focus();
  else return;
  event.preventDefault();
});
