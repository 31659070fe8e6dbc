// Without this, a button asks the server. With it, the answer comes as boxes are ticked, by the very same page.
"use strict";
const form = document.getElementById("choose");
const live = document.getElementById("live");
const QUIET_MS = 350;
let timer = 0;
let busy = false;
let again = false;

// One question at a time, and after it the newest one: the server resolves in a process of its own.
async function ask() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value)).toString();
  const address = form.getAttribute("action").replace(/#.*/, "") + (query ? "?" + query : "");
  live.textContent = "Asking the resolver ...";
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const told = page.getElementById("outcome");
    if (!told) throw new Error(page.querySelector("main p")?.textContent || String(answer.status));
    document.getElementById("outcome").replaceWith(document.adoptNode(told));
    document.dispatchEvent(new Event("shown"));
    history.replaceState(null, "", address);
    live.textContent = told.dataset.told;
  } catch (error) {
    live.textContent = `No answer: ${error.message}`;
  }
  busy = false;
  if (again) {
    again = false;
    ask();
  }
}

form.addEventListener("change", () => {
  clearTimeout(timer);
  timer = setTimeout(ask, QUIET_MS);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  ask().then(() => document.getElementById("outcome").scrollIntoView({ block: "nearest" }));
});
