"""The models that the shipped templates use, as Odoo 16 and 19 declare them (base, contacts, calendar, crm;
products and quotations: `sale`, invoices: `accounting`).

Guarantees: names, labels, types, required and readonly flags, selections and record order of the real ones;
what a version does not have (`mobile`, `title` in 19) is not there. Refuses: every other model and field.
"""

from __future__ import annotations

from engine.odoo.sandbox import accounting, sale
from engine.odoo.sandbox.schema import (
    Field,
    Model,
    Selection,
    char,
    choice,
    flag,
    html,
    many,
    model,
    number,
    one,
    stamp,
)

ENGINE_DENIED = {"read", "write", "create", "unlink"}
_STATES: Selection = (
    ("accepted", "Yes"),
    ("declined", "No"),
    ("tentative", "Maybe"),
    ("needsAction", "Needs Action"),
)
_PARTNER_NAME = (
    "CASE WHEN t.parent_id IS NOT NULL AND t.is_company IS NOT 1 THEN COALESCE("
    "(SELECT p.name || ', ' FROM res_partner p WHERE p.id = t.parent_id), '') ELSE '' END || COALESCE(t.name, '')"
)
_STATE_NAME = "t.name || ' (' || (SELECT c.code FROM res_country c WHERE c.id = t.country_id) || ')'"
_ATTENDEE = "(SELECT {} FROM res_partner p WHERE p.id = t.partner_id)"
_ATTENDEE_NAME = _ATTENDEE.format("COALESCE(NULLIF(p.name, ''), p.email)")
_ADDRESS = (
    char("street", "Street"),
    char("street2", "Street2"),
    char("zip", "Zip"),
    char("city", "City"),
    one("state_id", "State", "res.country.state", ondelete="restrict"),
    one("country_id", "Country", "res.country", ondelete="restrict"),
)


def models(major: int) -> dict[str, Model]:
    """The models of Odoo `major` (16 to 19) by name."""
    new = major >= 19
    declared = (*_contacts(major, new), *_calendar(new), _lead(new), *sale.models(new))
    declared += (*accounting.models(new), *_technical(new))
    return {item.name: item for item in declared}


def _contacts(major: int, new: bool) -> tuple[Model, ...]:
    address_types: Selection = (
        (("contact", "Contact"), ("invoice", "Invoice"), ("delivery", "Delivery"), ("other", "Other"))
        if new
        else (
            ("contact", "Contact"),
            ("invoice", "Invoice Address"),
            ("delivery", "Delivery Address"),
            *((("private", "Private Address"),) if major < 17 else ()),
            ("other", "Other Address"),
        )
    )
    partner = model(
        "res.partner",
        "Contact",
        char("name", "Name", indexed=True),
        *((char("complete_name", "Complete Name", readonly=True, sql=_PARTNER_NAME),) if major >= 17 else ()),
        *(() if new else (one("title", "Title", "res.partner.title"),)),
        one("parent_id", "Related Company", "res.partner", ondelete="restrict", indexed=True),
        many("child_ids", "Contact", "res.partner", "parent_id"),
        char("ref", "Reference", indexed=True),
        choice("lang", "Language", dynamic="lang", default="en_US"),
        choice("tz", "Timezone", dynamic="tz"),
        char("vat", "Tax ID", indexed=True),
        char("website", "Website Link"),
        html("comment", "Notes"),
        many("category_id", "Tags", "res.partner.category"),
        flag("active", "Active", default=True),
        char("function", "Job Position"),
        choice("type", "Address Type", address_types, default="contact"),
        *_ADDRESS,
        char("email", "Email"),
        char("phone", "Phone"),
        *(() if new else (char("mobile", "Mobile"),)),
        flag("is_company", "Is a Company"),
        choice(
            "company_type",
            "Company Type",
            (("person", "Individual" if not new else "Person"), ("company", "Company")),
            sql="CASE WHEN t.is_company THEN 'company' ELSE 'person' END",
        ),
        char("company_name", "Company Name"),
        char("barcode", "Barcode"),
        many("user_ids", "Users", "res.users", "partner_id"),
        display=_PARTNER_NAME,
        order="display_name, id desc",
        rec_name=("display_name", "email", "ref", "vat"),
    )
    title = (
        () if new else (model("res.partner.title", "Partner Title", char("name", "Title", required=True)),)
    )
    tag = "Name" if new else "Tag Name"
    return (
        partner,
        *title,
        model(
            "res.partner.category",
            "Partner Tags",
            char("name", tag, required=True),
            number("color", "Color" if new else "Color Index"),
            one(
                "parent_id",
                "Category" if new else "Parent Category",
                "res.partner.category",
                ondelete="cascade",
            ),
            flag("active", "Active", default=True),
            order="name, id",
        ),
        model(
            "res.country",
            "Country",
            char("name", "Country Name", required=True),
            char("code", "Country Code", required=True),
            many("state_ids", "States", "res.country.state", "country_id"),
            order="name, id",
            rec_name=("code", "name"),
        ),
        model(
            "res.country.state",
            "Country state",
            one("country_id", "Country", "res.country", required=True),
            char("name", "State Name", required=True),
            char("code", "State Code", required=True),
            display=_STATE_NAME,
            order="code, id",
            rec_name=("code", "name"),
        ),
        model(
            "res.lang",
            "Languages",
            char("name", "Name", required=True),
            char("code", "Locale Code", required=True),
            char("iso_code", "ISO code"),
            flag("active", "Active"),
            order="active desc, name",
        ),
        model(
            "res.users",
            "User",
            one("partner_id", "Related Partner", "res.partner", required=True),
            char("login", "Login", required=True),
            flag("active", "Active", default=True),
            *(
                Field(name, kind, label, sql=f"SELECT p.{name} FROM res_partner p WHERE p.id = t.partner_id")
                for name, kind, label in (
                    ("name", "char", "Name"),
                    ("email", "char", "Email"),
                    ("lang", "char", "Language"),
                    ("tz", "char", "Timezone"),
                )
            ),
            display="SELECT p.name FROM res_partner p WHERE p.id = t.partner_id",
            order="name, login",
        ),
    )


def _calendar(new: bool) -> tuple[Model, ...]:
    return (
        model(
            "calendar.event",
            "Calendar Event",
            char("name", "Meeting Subject", required=True),
            html("description", "Description"),
            one("user_id", "Organizer", "res.users"),
            one(
                "partner_id",
                "Scheduled by",
                "res.partner",
                readonly=True,
                sql="SELECT u.partner_id FROM res_users u WHERE u.id = t.user_id",
            ),
            char("location", "Location"),
            char("videocall_location", "Meeting URL", readonly=True, sql="NULL"),
            choice(
                "privacy",
                "Privacy",
                (("public", "Public"), ("private", "Private"), ("confidential", "Only internal users")),
                **({} if new else {"required": True, "default": "public"}),
            ),
            choice(
                "show_as", "Show as", (("free", "Available"), ("busy", "Busy")), required=True, default="busy"
            ),
            flag("active", "Active", default=True),
            many("categ_ids", "Tags", "calendar.event.type"),
            stamp("start", "Start", required=True, indexed=True),
            stamp("stop", "Stop", required=True, depends=("start", "duration")),
            flag("allday", "All Day"),
            Field("duration", "float", "Duration", depends=("stop", "start")),
            Field("res_id", "many2one_reference", "Document ID"),
            one("res_model_id", "Document Model", "ir.model", ondelete="cascade"),
            char("res_model", "Document Model Name", readonly=True),
            many("attendee_ids", "Participant", "calendar.attendee", "event_id"),
            many("partner_ids", "Attendees", "res.partner"),
            order="start desc, id",
        ),
        model(
            "calendar.attendee",
            "Calendar Attendee Information",
            one(
                "event_id",
                "Meeting linked",
                "calendar.event",
                required=True,
                ondelete="cascade",
                indexed=True,
            ),
            one(
                "partner_id",
                "Attendee",
                "res.partner",
                required=True,
                readonly=True,
                ondelete="cascade",
                indexed=True,
            ),
            char("email", "Email", readonly=True, sql=_ATTENDEE.format("p.email")),
            char("phone", "Phone", readonly=True, sql=_ATTENDEE.format("p.phone")),
            char("common_name", "Common name", readonly=True, sql=_ATTENDEE_NAME),
            choice("state", "Status", _STATES, default="needsAction"),
            display=_ATTENDEE_NAME,
            order="create_date, id",
            rec_name=("display_name",),
        ),
        model(
            "calendar.event.type",
            "Event Meeting Type",
            char("name", "Name", required=True),
            number("color", "Color"),
            unique=(("name",),),
        ),
    )


def _lead(new: bool) -> Model:
    priorities: Selection = (("0", "Low"), ("1", "Medium"), ("2", "High"), ("3", "Very High"))
    return model(
        "crm.lead",
        "Lead" if new else "Lead/Opportunity",
        char("name", "Opportunity", required=True),
        choice(
            "type", "Type", (("lead", "Lead"), ("opportunity", "Opportunity")), required=True, default="lead"
        ),
        one("partner_id", "Contact" if new else "Customer", "res.partner", indexed=True),
        char("contact_name", "Contact Name"),
        char("partner_name", "Company Name"),
        char("email_from", "Email"),
        char("phone", "Phone"),
        *(() if new else (char("mobile", "Mobile"),)),
        *_ADDRESS,
        html("description", "Notes"),
        one("user_id", "Salesperson", "res.users"),
        choice("priority", "Priority", priorities, default="0"),
        char("referred", "Referred By"),
        flag("active", "Active", default=True),
        order="priority desc, id desc",
    )


def _technical(new: bool) -> tuple[Model, ...]:
    group = "Access Rights" if new else "Administration/Access Rights"
    admin = "Role / Administrator" if new else "Administration/Settings"
    kinds: Selection = (
        ("contact", "Contact"),
        ("comment", "Comment"),
        ("notification", "System notification"),
        ("user_notification", "User Specific Notification"),
    )
    return (
        model(
            "ir.model.data",
            "Model Data",
            char("name", "External Identifier", required=True),
            char("complete_name", "Complete ID", readonly=True, sql="t.module || '.' || t.name"),
            char("model", "Model Name", required=True),
            char("module", "Module", required=True, default=""),
            Field("res_id", "many2one_reference", "Record ID"),
            flag("noupdate", "Non Updatable"),
            char("reference", "Reference", readonly=True, sql="t.model || ',' || t.res_id"),
            display="t.module || '.' || t.name",
            order="module, model, name",
            unique=(("module", "name"),),
            groups=dict.fromkeys(ENGINE_DENIED, group),
        ),
        model(
            "ir.model",
            "Models",
            char("name", "Model Description", required=True),
            char("model", "Model", required=True),
            order="model",
        ),
        model(
            "ir.model.fields",
            "Fields",
            char("name", "Field Name", required=True),
            char("model", "Model Name", required=True),
            one("model_id", "Model", "ir.model", required=True, ondelete="cascade"),
            char("field_description", "Field Label", required=True),
            char("ttype", "Field Type", required=True),
            char("relation", "Related Model"),
            order="name, id",
        ),
        model(
            "ir.config_parameter",
            "System Parameter",
            char("key", "Key", required=True),
            char("value", "Value", required=True),
            display="t.key",
            order="key",
            rec_name=("key",),
            unique=(("key",),),
            groups=dict.fromkeys(ENGINE_DENIED, admin),
        ),
        model(
            "mail.message",
            "Message",
            char("subject", "Subject"),
            char("model", "Related Document Model"),
            Field("res_id", "many2one_reference", "Related Document ID"),
            choice("message_type", "Type", kinds, required=True, default="comment"),
            many("partner_ids", "Recipients", "res.partner"),
            display="t.subject",
            order="id desc",
            rec_name=("subject",),
        ),
        model(
            "base.partner.merge.automatic.wizard",
            "Merge Partner Wizard",
            choice(
                "state",
                "State",
                (("option", "Option"), ("selection", "Selection"), ("finished", "Finished")),
                required=True,
                readonly=True,
                default="option",
            ),
            many("partner_ids", "Contacts", "res.partner"),
            one("dst_partner_id", "Destination Contact", "res.partner"),
            display="'base.partner.merge.automatic.wizard,' || t.id",
            rec_name=("display_name",),
        ),
    )
