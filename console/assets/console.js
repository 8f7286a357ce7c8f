// What pages do in the browser beyond plain HTML: live parts (htmx, server-sent events), local times, the CSRF header.
import htmx from "htmx.org";
window.htmx = htmx; // the extension below registers itself on it

await import("htmx-ext-sse");
const { Idiomorph } = await import("idiomorph/htmx");

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }); // of today

const day = { year: "numeric", month: "numeric", day: "numeric" };
const exactly = { hour: "numeric", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 };
const close = new Intl.DateTimeFormat(undefined, exactly); // in a timeline, where one second holds it all
const closeThatDay = new Intl.DateTimeFormat(undefined, { ...day, ...exactly });

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
  const [there, then] = time.closest(".when") ? [close, closeThatDay] : [clock, local];
  time.textContent = (today ? there : then).format(at);
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
  if ((xhr.status && xhr.status < 400) || xhr.status === 401) return; // 401: on the way to sign in, see below
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
document.body.addEventListener("htmx:sseError", async () => {
  lost.hidden = false;
  if ((await session()) === "ended") location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
});
document.body.addEventListener("htmx:sseOpen", () => (lost.hidden = true));

// Whether the session is "here" still, "ended", or the console "absent"; the page's forms go on with what is here.
async function session() {
  let answer;
  try {
    answer = await fetch("/session", { redirect: "manual" }); // without one it leads to the sign-in
  } catch {
    return "absent";
  }
  if (answer.type === "opaqueredirect") return "ended";
  if (answer.ok) {
    const { csrf } = await answer.json();
    document.querySelector("meta[name=csrf]").content = csrf;
    for (const one of document.querySelectorAll("input[name=csrf]")) one.value = csrf;
  }
  return "here";
}

// What was typed into a form that is `data-kept` outlives its session: who signs in beside it goes on.
const kept = document.querySelector("form[data-kept]"), ended = document.getElementById("ended");
async function going() {
  const is = await session();
  ended.hidden = is !== "ended";
  if (is === "absent") tell(told.dataset.absent);
  return is === "here";
}
if (kept) {
  kept.addEventListener("submit", async (event) => {
    if (kept.dataset.sent) return;
    event.preventDefault();
    if (!(await going())) return;
    kept.dataset.sent = "yes";
    kept.requestSubmit(event.submitter);
  });
  window.addEventListener("pageshow", () => delete kept.dataset.sent); // back in the browser's history
  document.body.addEventListener("session:ended", going);
  document.body.addEventListener("htmx:beforeOnLoad", (event) => {
    if (event.detail.xhr.status !== 401) return;
    event.preventDefault();
    going();
  });
  window.addEventListener("focus", () => ended.hidden || going());
}

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
