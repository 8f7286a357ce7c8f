// What pages do in the browser beyond plain HTML: live parts (htmx, server-sent events), local times, the CSRF header.
import htmx from "htmx.org";
window.htmx = htmx; // the extension below registers itself on it

await import("htmx-ext-sse");
const { Idiomorph } = await import("idiomorph/htmx");

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }); // of today

const zone = local.resolvedOptions().timeZone; // times are shown in it, so they are typed in it
for (const place of document.querySelectorAll("[data-zone]")) {
  if (place.nodeName === "INPUT") place.value = zone;
  else place.textContent = zone;
}

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) localTime(time);
}

function localTime(time) {
  const at = new Date(time.dateTime);
  const today = at.toDateString() === new Date().toDateString();
  time.title = local.format(at);
  time.textContent = (today ? clock : local).format(at);
}

// What is live is morphed: an element that stays is the same one, with its focus, selection, scroll and open details.
Object.assign(Idiomorph.defaults.callbacks, {
  beforeNodeMorphed(_, next) {
    if (next.nodeName === "TIME") localTime(next);
    return true;
  },
  beforeAttributeUpdated: (name, element) => !(name === "open" && element.nodeName === "DETAILS"),
});

// Where the focused element went away its region has the focus, not the page's beginning.
let held = null;
function hold(target) {
  held = target.contains(document.activeElement) ? target : null;
}
document.body.addEventListener("htmx:beforeSwap", ({ detail }) => hold(detail.target));

// The extension for server-sent events does not say whose extensions count, so `morph` is told here.
document.body.addEventListener("htmx:sseBeforeMessage", (event) => {
  event.preventDefault();
  hold(event.target);
  htmx.swap(event.target, event.detail.data, { swapStyle: "morph:innerHTML", swapDelay: 0, settleDelay: 20 }, { contextElement: event.target });
});
document.body.addEventListener("htmx:afterSettle", () => {
  if (held?.isConnected && document.activeElement === document.body) {
    held.tabIndex = -1;
    held.focus({ preventScroll: true });
  }
  held = null;
});

document.body.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = document.querySelector("meta[name=csrf]").content;
});
// What was refused is told, and that what is live is not so any more.
const told = document.getElementById("told"), lost = document.getElementById("lost");
function tell(text) {
  told.textContent = text;
  told.hidden = !text;
}
function answered({ target: xhr }) {
  if (xhr.status && xhr.status < 400) return;
  let said = {};
  try {
    said = JSON.parse(xhr.responseText);
  } catch {
    // a proxy's own words: its status is all that is told
  }
  const answer = said.detail || (xhr.status ? `${xhr.status} ${xhr.statusText}` : told.dataset.absent);
  const text = [answer, said.todo].filter(Boolean).join(": ");
  tell(text[0].toUpperCase() + text.slice(1));
}
document.body.addEventListener("htmx:beforeRequest", ({ detail: { xhr, requestConfig } }) => {
  if (requestConfig.verb !== "get") tell("");
  // of the request itself: what htmx says of one whose button went away meanwhile is not heard here
  for (const end of ["load", "error"]) xhr.addEventListener(end, answered);
});
document.body.addEventListener("htmx:sseError", () => (lost.hidden = false));
document.body.addEventListener("htmx:sseOpen", () => (lost.hidden = true));

document.body.addEventListener("htmx:load", (event) => localTimes(event.detail.elt.parentElement || document));
localTimes(document);

// "/" goes to the search, as in other consoles.
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
    const field = document.querySelector("[role=search] input:not([type=hidden])");
    if (field) {
      event.preventDefault();
      field.focus();
    }
  }
});

if (document.querySelector(".tree")) import("./fields.js");
