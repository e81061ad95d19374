// A key presses the button that carries it; R opens a field, where Ctrl + Enter sends and Escape closes.
"use strict";

const open = (is) => {
  const form = document.getElementById("rewrite");
  form.hidden = !is;
  document.querySelector("[data-open]").setAttribute("aria-expanded", String(is));
  const field = form.querySelector("textarea");
  if (is) field.focus();
  else field.blur();
};

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open]")) open(document.getElementById("rewrite").hidden);
});

document.addEventListener("keydown", (event) => {
  // 229: a key that an input method is still composing with.
  if (event.isComposing || event.keyCode === 229 || event.altKey) return;
  const sends = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  if (event.target.matches("textarea")) {
    if (sends) event.target.form.requestSubmit();
    if (event.key === "Escape") open(false);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.repeat || document.querySelector(".htmx-request")) return;
  const keys = [...document.querySelectorAll("[data-key]")];
  const button = keys.find((one) => one.dataset.key === event.key.toLowerCase());
  if (!button) return;
  event.preventDefault();
  button.click();
});
