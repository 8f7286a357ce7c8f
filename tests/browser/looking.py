"""How every page is looked at, and what makes a console that has every state."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from engine_process import ROOT

AXE = (
    ROOT / "console/assets/node_modules/axe-core/axe.min.js"
).read_text() + "\nvoid 0;"  # nothing to send back
SERIOUS = """rules => axe.run(document,
  {resultTypes: ["violations"], preload: false, selectors: false, ...(rules && {runOnly: rules})})
  .then(found => found.violations.filter(one => ["serious", "critical"].includes(one.impact))
  .flatMap(one => one.nodes.map(node => [one.id, node.html.slice(0, 200), node.failureSummary])))"""
WIDER = """() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
  .filter(one => one.getBoundingClientRect().right > innerWidth && !one.closest(".wide, pre"))
  .map(one => one.outerHTML.slice(0, 200))"""
BOTH = f"async rules => [await ({SERIOUS})(rules), ({WIDER})()]"
COLOURS = ["color-contrast", "link-in-text-block"]
PLACED = [
    "scrollable-region-focusable", "target-size", "aria-hidden-focus", "label", "button-name", "link-name",
]  # fmt: skip
WIDE, TELEPHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
CHANNELS = """
  lab:
    description: Results of the laboratory
    group: Laboratory
    tags: [night, lab]
    silent_after: 1
    listener: {{http: {{port: {lab}}}}}
    search: {{columns: {{ward: {{path: PV1-3.1, plain: true}}}}}}
    filters: [message_type: {{allow: [ORU^R01]}}]
    transformers: [split: {{each: OBR}}]
  stock:
    description: Stock of the wards
    group: Laboratory
    tags: [night]
    format: {{json: {{control_id: /id, type: /event, mrn: /patient}}}}
    listener: {{http: {{port: {stock}}}}}
    transformers: [jinja: {{text: "MSH|^~\\\\&|A|B|C|D|||ADT^A28|{{{{ msg['/id'] }}}}|P|2.5"}}]
    destinations: {{nobody: {{mllp: {{host: 127.0.0.1, port: {nobody}}}}}}}
  letters:
    format: xml
    listener: {{http: {{port: {letters}}}}}
  taken:
    listener: {{mllp: {{port: {taken}}}}}
    filters: [message_type: {{allow: [ORU^R01]}}]
"""
PROVIDERS = """
providers:
  clinic: {title: Clinic account, issuer: "http://127.0.0.1:1/none", client_id: isthmus, allow: ["*"]}
"""
RESULTS = (
    b"MSH|^~\\&|LIS|RGH|ISTHMUS|CLINIC|20260302080100||ORU^R01^ORU_R01|LAB1|P|2.5.1\r"
    b"PID|1||100234^^^RGH^MR||Keller^Nora||19840917|F\rPV1|1|I|ICU^1^2\r"
    b"OBR|1|||GLU^Glucose\rOBX|1|NM|GLU^Glucose||5.4|mmol/L|3.9-6.1|N|||F\r"
    b"OBR|2|||NA^Sodium\rOBX|1|NM|NA^Sodium||141|mmol/L|136-145|N|||F\r"
)


class Looked:
    """What was seen: (method, path) of each page."""

    def __init__(self, seen: set[tuple[str, str]], picture) -> None:
        self.seen, self.picture = seen, picture

    def follow(self, page) -> None:
        """Note what this page asks the console for."""
        page.on("request", lambda asked: self.seen.add((asked.method, urlsplit(asked.url).path)))

    def at(self, page, name: str) -> None:
        """The page as it stands: all rules wide and light, those of colours in every way, and narrow those of what
        moves, hides or is small."""
        found = []
        page.evaluate(AXE)
        for scheme, size, rules in (
            ("dark", WIDE, COLOURS),
            ("dark", TELEPHONE, COLOURS),
            ("light", TELEPHONE, [*COLOURS, *PLACED]),
            ("light", WIDE, None),
        ):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            wrong, wider = page.evaluate(BOTH, rules)
            assert wider == [], f"{name} is wider than {size['width']}"
            found += [(scheme, size["width"], *one) for one in wrong]
            if os.environ.get("ISTHMUS_SCREENSHOTS"):
                self.picture(page, f"every-{name}-{scheme}-{size['width']}", full_page=True)
        assert not found, name
