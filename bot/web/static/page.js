// What HTML and htmx cannot say: Enter sends, a lost connection shows, a panel closes.
"use strict";

// A stream that is opened anew goes on where the last one ended.
let seen = "";
htmx.createEventSource = (url) => new EventSource(seen ? url.replace(/seen=.*/, `seen=${seen}`) : url);
document.addEventListener("htmx:sseMessage", (event) => { seen = event.detail.lastEventId || seen; });

const offline = (is) => document.body.classList.toggle("is-offline", is);
for (const name of ["htmx:sseError", "htmx:sendError"]) document.addEventListener(name, () => offline(true));
for (const name of ["htmx:sseOpen", "htmx:afterOnLoad"]) document.addEventListener(name, () => offline(false));

// 229: a key that an input method is still composing with.
document.addEventListener("keydown", (event) => {
  if (event.target.id !== "text" || event.key !== "Enter" || event.shiftKey) return;
  if (event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});

document.addEventListener("accepted", (event) => {
  const field = document.getElementById("text");
  if (event.target.matches(".composer")) field.value = "";
  document.querySelector(".scroll").scrollTop = 0;
  if (matchMedia("(hover: hover)").matches) field.focus();
});

document.addEventListener("click", (event) => {
  event.target.closest("[data-close]")?.closest("[data-closable]").remove();
});
