"use strict";
const form = document.querySelector("form.filter");
const clips = [...document.querySelectorAll("article.clip")];

function chosen(id) {
  const control = document.getElementById(id);
  return control ? control.value : "";
}

function hasWarning(clip, wanted) {
  const warnings = JSON.parse(clip.dataset.warnings);
  if (wanted === "any") return warnings.length > 0;
  if (wanted === "none") return warnings.length === 0;
  return warnings.includes(wanted.slice("kind:".length));
}

function filter() {
  const split = chosen("by-split"), name = chosen("by-class"), warning = chosen("by-warning");
  const text = chosen("by-text").trim().toLowerCase();
  let shown = 0;
  for (const clip of clips) {
    clip.hidden =
      (split && clip.dataset.split !== split) ||
      (name && !JSON.parse(clip.dataset.classes).includes(name)) ||
      (warning && !hasWarning(clip, warning)) ||
      !clip.dataset.text.toLowerCase().includes(text);
    shown += !clip.hidden;
  }
  document.getElementById("shown").value = `${shown} of ${clips.length} clips`;
}

form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter));
// What the browser kept from before a reload is in force at once.
filter();
