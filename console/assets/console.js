// What pages do in the browser beyond plain HTML: live parts (htmx, server-sent events), local times, the CSRF header.
import htmx from "htmx.org";
window.htmx = htmx; // the extension below registers itself on it

await import("htmx-ext-sse");

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }); // of today

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    const today = at.toDateString() === new Date().toDateString();
    time.title = local.format(at);
    time.textContent = (today ? clock : local).format(at);
  }
}

document.body.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = document.querySelector("meta[name=csrf]").content;
});
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
