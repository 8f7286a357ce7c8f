"""What a template costs: 15 fields as one program, beside one expression for each field, and a condition.

    python -m bench.template

Prints microseconds a message (median of rounds), the parsing of the message included.
"""

import statistics
import timeit

from engine.hl7.er7 import Message
from engine.model import Meta, Scope
from engine.spec.component import BuildContext
from engine.spec.expressions import compile_expression
from engine.spec.template import compile_template
from transforms.condition import Condition

PATHS = [f"PID-{n}" for n in (3.1, 5.1, 5.2, 7, 8, 11.1, 11.3, 11.4, 11.5, 13, 14, 15, 16, 18)] + ["PV1-19.1"]
RAW = (
    b"MSH|^~\\&|EHR|HOSP|ISTHMUS|ODOO|20260301083000||ADT^A01|42|P|2.5.1\r"
    b"EVN|A01|20260301083000\r"
    b"PID|1||1001^^^HOSP^MR||SMITH^ANNA^M||19800229|F|||1 MAIN ST^^SPRINGFIELD^IL^62701||5551234|5559876|en|M||A77\r"
    b"PV1|1|I|W1^R2^B3||||||||||||||||V900\r"
)


def micros(run: object) -> float:
    """Median time of one call, in microseconds."""
    return statistics.median(timeit.repeat(run, number=2000, repeat=7)) / 2000 * 1e6  # type: ignore[arg-type]


def main() -> None:
    """Measure and print."""
    context = BuildContext()
    fields = {f"f{n}": f"{{{{ msg['{path}'] }}}}" for n, path in enumerate(PATHS)}
    whole = compile_template(
        [{"upsert": "res.partner", "key": "patient/{{ msg['PID-3.1'] }}", "values": fields}], context
    )
    single = [compile_expression(source, context) for source in fields.values()]
    check = Condition.model_validate("msg['PV1-2'] != 'P'").build(context)
    meta = Meta()
    parsed = Scope(Message(RAW), meta)

    def by_hand() -> list[str]:
        message = Message(RAW)
        return [message[path] for path in PATHS]

    def one_by_one() -> list[object]:
        scope = Scope(Message(RAW), meta)
        return [run(scope) for run in single]

    rows = {
        "parse + 15 fields in Python": by_hand,
        "parse + template of 15 fields": lambda: whole(Scope(Message(RAW), meta)),
        "parse + 15 single expressions": one_by_one,
        "template of 15 fields, message parsed": lambda: whole(parsed),
        "condition, message parsed": lambda: check(parsed),
    }
    assert len(whole(parsed)[0]["values"]) == len(PATHS)
    for name, run in rows.items():
        print(f"{name:40} {micros(run):8.1f} µs")


if __name__ == "__main__":
    main()
