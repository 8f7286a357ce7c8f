"""From data to HTML: one Jinja environment, autoescaped, with the few filters that pages need.

Guarantees: what came out of a message is always escaped; times are UTC in the HTML and local in the browser.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context, select_autoescape
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Match

from console import language
from console.guard import came_from
from console.language import N_
from console.wording import Wording
from engine.clock import iso
from engine.security.roles import Role

FOLDER = Path(__file__).resolve().parents[1] / "templates"
MENU = (
    ("/", N_("Channels"), Role.VIEWER),
    ("/messages", N_("Messages"), Role.VIEWER),
    ("/patients", N_("Patients"), Role.VIEWER),
    ("/errors", N_("Errors"), Role.VIEWER),
    ("/jobs", N_("Jobs"), Role.VIEWER),
    ("/config", N_("Configuration"), Role.ANALYST),
    ("/users", N_("Users"), Role.ADMIN),
    ("/audit", N_("Audit"), Role.ADMIN),
)
env = Environment(
    loader=FileSystemLoader(FOLDER), autoescape=select_autoescape(default=True), undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.i18n", Wording],
)  # fmt: skip
env.install_gettext_callables(language.gettext, language.ngettext, newstyle=True)  # type: ignore[attr-defined]


def moment(at: int | None) -> Markup:
    """A time: UTC here, in the browser's zone once the script has run."""
    if not at:
        return Markup("–")
    text = iso(at)
    return Markup('<time datetime="{}">{}</time>').format(text, text.replace("T", " ").removesuffix("Z"))


def duration(milliseconds: int | None) -> str:
    """`850 ms`, `12 s`, `4 min`, `3 h`, `2 d`."""
    if milliseconds is None:
        return "–"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if milliseconds >= 2 * size or (unit == "s" and milliseconds >= size):
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds} ms"


def count(number: int) -> str:
    """With thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def sparkline(values: list[float]) -> Markup:
    """A small line of rates."""
    shown = values[-60:]
    if len(shown) < 2:
        return Markup('<svg class="spark" viewBox="0 0 60 16" aria-hidden="true"></svg>')
    top = max(*shown, 0.001)
    step = 60 / (len(shown) - 1)
    points = " ".join(f"{index * step:.1f},{15 - 14 * value / top:.1f}" for index, value in enumerate(shown))
    label = language.gettext(N_("messages a second over the last minutes, at most %(top)s")) % {
        "top": f"{top:.1f}"
    }
    form = Markup(
        '<svg class="spark" viewBox="0 0 60 16" role="img" aria-label="{}"><polyline points="{}"/></svg>'
    )
    return form.format(label, points)


@pass_context
def translated(_: object, text: str) -> str:
    """A word in the reader's language: looked up at each rendering, also where it is a constant of the template."""
    return language.gettext(text)


@pass_context
def outcome(_: object, text: str) -> str:
    """What becomes of a record, likewise."""
    return language.outcome(text)


env.filters.update(
    outcome=outcome, moment=moment, duration=duration, count=count, sparkline=sparkline, translated=translated
)


def fragment(request: Request, template: str, /, **values: Any) -> str:
    """A template as text."""
    language.choose(language.wanted(request))
    identity = request.state.identity
    session = request.state.session
    menu = [(path, title) for path, title, role in MENU if identity is not None and identity.somewhere(role)]
    return env.get_template(template).render(
        identity=identity,
        csrf=session.csrf if session else "",
        menu=menu,
        path=request.url.path,
        language=language.chosen(),
        Role=Role,
        **values,
    )


def page(request: Request, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """A whole page, or, asked for by htmx, what a template puts in its place."""
    return HTMLResponse(fragment(request, template, **values), status)


def error_page(request: Request, status: int, what: str, todo: str, code: str) -> HTMLResponse:
    """An error for people, with the way back to the page that they came from, if it can be shown again."""
    back = came_from(request.headers)
    path = back.partition("?")[0]
    asked = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    again = path == request.url.path and request.method == "GET"
    if again or not any(one.matches(asked)[0] is Match.FULL for one in request.app.router.routes):
        back = ""
    return page(request, "error.html", status, what=what, todo=todo, code=code, back=back)
