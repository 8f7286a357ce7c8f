"""An Odoo of one's own in one SQLite file: JSON-2 and JSON-RPC for the models that the templates use.

Guarantees: requests and answers, errors included, as Odoo 16.0 and 19.0 give them (recorded exchanges and a
contract suite that also runs against real servers hold it to that); each request is one durable transaction;
killed and started again it has all that it answered for. Refuses: other models, XML-RPC, web pages, sessions.
It is no Odoo: no access rules beyond two kinds of user, no translations, no modules, no companies.
"""

from engine.odoo.sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
