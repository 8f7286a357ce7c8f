"""Appointments: times, attendees, and above all mail to patients."""

PAST = {"start": "2024-04-02 10:00:00", "stop": "2024-04-02 10:30:00"}
FUTURE = {"start": "2099-04-02 10:00:00", "stop": "2099-04-02 10:30:00"}
LOUD = {"tz": "UTC", "lang": "en_US"}


def event(odoo, **vals):
    vals = {"name": odoo.name("event"), "user_id": False, **PAST, **vals}
    return odoo.call("calendar.event", "create", vals_list=[vals])[0]


def times(odoo, record):
    found = odoo.get("calendar.event", record, "start", "stop", "duration")
    return found["start"][11:16], found["stop"][11:16], found["duration"]


def patient(odoo, **vals):
    return odoo.partner(email=f"{odoo.name('mail')}@example.com", **vals)


def mails(odoo, partner):
    domain = [["partner_ids", "in", [partner]], ["message_type", "=", "user_notification"]]
    return odoo.call("mail.message", "search_count", domain=domain)


def test_duration_is_computed(odoo):
    assert times(odoo, event(odoo)) == ("10:00", "10:30", 0.5)


def test_moving_keeps_the_duration(odoo):
    record = event(odoo)
    odoo.call("calendar.event", "write", ids=[record], vals={"start": "2024-04-02 12:00:00"})
    assert times(odoo, record) == ("12:00", "12:30", 0.5)


def test_duration_moves_the_stop(odoo):
    record = event(odoo)
    odoo.call("calendar.event", "write", ids=[record], vals={"duration": 1.0})
    assert times(odoo, record) == ("10:00", "11:00", 1.0)


def test_stop_changes_the_duration(odoo):
    record = event(odoo)
    odoo.call("calendar.event", "write", ids=[record], vals={"stop": "2024-04-02 13:00:00"})
    assert times(odoo, record) == ("10:00", "13:00", 3.0)


def test_shorter_times_and_dates_are_taken(odoo):
    assert times(odoo, event(odoo, start="2024-04-02 09:00", stop="2024-04-02 10:00"))[0] == "09:00"
    assert times(odoo, event(odoo, start="2024-04-02", stop="2024-04-03"))[2] == 24.0


def test_iso_time_is_refused(odoo):
    vals = {"name": "A", "start": "2024-04-02T10:00:00Z", "stop": "2024-04-02 10:30:00"}
    caught = odoo.refused("calendar.event", "create", vals_list=[vals])
    assert caught.name == "builtins.ValueError"
    assert caught.message == "time data '2024-04-02T10:00:00Z' does not match format '%Y-%m-%d %H:%M:%S'"


def test_end_before_start(odoo):
    vals = {"name": "A", "start": "2024-04-02 10:00:00", "stop": "2024-04-02 09:00:00"}
    caught = odoo.refused("calendar.event", "create", vals_list=[vals])
    assert caught.name == "odoo.exceptions.ValidationError"
    shown = (
        "Meeting “A” starts at 2024-04-02 10:00:00 and ends at 2024-04-02 09:00:00"
        if odoo.new
        else "Meeting 'A' starts '2024-04-02 10:00:00' and ends '2024-04-02 09:00:00'"
    )
    first = "The ending date and time cannot be earlier than the starting date and time.\n"
    assert caught.message == first + shown


def test_name_is_required(odoo):
    caught = odoo.refused("calendar.event", "create", vals_list=[PAST])
    assert caught.name == "odoo.exceptions.ValidationError" and "Meeting Subject" in caught.message


def test_attendees_follow_the_partners(odoo):
    one, two = odoo.partner(), odoo.partner()
    record = event(odoo, partner_ids=[[6, 0, [one]]])

    def attendees():
        domain = [["event_id", "=", record]]
        found = odoo.call("calendar.attendee", "search_read", domain=domain, fields=["partner_id", "state"])
        return sorted((item["partner_id"][0], item["state"]) for item in found)

    assert attendees() == [(one, "needsAction")]
    odoo.call("calendar.event", "write", ids=[record], vals={"partner_ids": [[6, 0, [two]]]})
    assert attendees() == [(two, "needsAction")]
    assert odoo.get("calendar.event", record, "partner_ids")["partner_ids"] == [two]


def test_cancelled_is_archived(odoo):
    record = event(odoo)
    odoo.call("calendar.event", "write", ids=[record], vals={"active": False})
    domain = [["id", "=", record]]
    assert odoo.call("calendar.event", "search", domain=domain) == []
    assert odoo.call("calendar.event", "search", domain=domain, context={"active_test": False}) == [record]


def test_defaults(odoo):
    record = event(odoo)
    found = odoo.get(
        "calendar.event", record, "privacy", "show_as", "active", "allday", "user_id", "location"
    )
    assert found["privacy"] == (False if odoo.new else "public")
    assert (found["show_as"], found["active"], found["allday"]) == ("busy", True, False)
    assert found["user_id"] is False and found["location"] is False


def test_description_of_19_holds_the_patient(odoo):
    one = odoo.partner(name="Jane Doe")
    found = odoo.get(
        "calendar.event", event(odoo, partner_ids=[[6, 0, [one]]], description="d"), "description"
    )
    if odoo.new:
        assert found["description"] == "<div>d<br><strong>Contact Details</strong><br>Jane Doe</div>"
    else:
        assert found["description"] == "<p>d</p>"


def test_new_appointment_mails_the_patient_unless_told_not_to(odoo):
    quiet, loud = patient(odoo), patient(odoo)
    event(odoo, partner_ids=[[6, 0, [quiet]]], **FUTURE)
    assert mails(odoo, quiet) == 0
    vals = {"name": "A", "user_id": False, "partner_ids": [[6, 0, [loud]]], **FUTURE}
    odoo.call("calendar.event", "create", vals_list=[vals], context=LOUD)
    assert mails(odoo, loud) == 1


def test_load_mails_the_patient_too_unless_told_not_to(odoo):
    fields = ["id", "name", "start", "stop", "partner_ids/.id"]
    for context, expected in (({}, 0), ({"no_mail_to_attendees": False}, 1)):
        one = patient(odoo)
        cells = [odoo.xid("e"), "A", FUTURE["start"], FUTURE["stop"], str(one)]
        assert odoo.load("calendar.event", fields, cells, **context)["ids"]
        assert mails(odoo, one) == expected


def test_moved_appointment_mails_the_patient_unless_told_not_to(odoo):
    one = patient(odoo)
    record = event(odoo, partner_ids=[[6, 0, [one]]], **FUTURE)
    odoo.call("calendar.event", "write", ids=[record], vals={"start": "2099-04-03 10:00:00"})
    assert mails(odoo, one) == 0
    odoo.call("calendar.event", "write", ids=[record], vals={"start": "2099-04-04 10:00:00"}, context=LOUD)
    assert mails(odoo, one) == 1


def test_past_appointment_and_archiving_mail_nobody(odoo):
    one = patient(odoo)
    vals = {"name": "A", "user_id": False, "partner_ids": [[6, 0, [one]]], **PAST}
    record = odoo.call("calendar.event", "create", vals_list=[vals], context=LOUD)[0]
    odoo.call("calendar.event", "write", ids=[record], vals={"active": False}, context=LOUD)
    assert mails(odoo, one) == 0


def test_patient_without_address_gets_no_mail(odoo):
    one = odoo.partner()
    vals = {"name": "A", "user_id": False, "partner_ids": [[6, 0, [one]]], **FUTURE}
    odoo.call("calendar.event", "create", vals_list=[vals], context=LOUD)
    assert mails(odoo, one) == 0


def test_deleted_event_takes_its_attendees_along(odoo):
    record = event(odoo, partner_ids=[[6, 0, [odoo.partner()]]])
    odoo.call("calendar.event", "unlink", ids=[record])
    assert odoo.call("calendar.attendee", "search_count", domain=[["event_id", "=", record]]) == 0


def test_lead(odoo):
    one = odoo.partner()
    fields = ["id", "name", "type", "partner_id/.id", "phone", "priority"]
    xid = odoo.xid("lead")
    record = odoo.load(
        "crm.lead", fields, [xid, "Referral", "opportunity", str(one), "+1 217 555 0100", "2"]
    )["ids"][0]
    found = odoo.get("crm.lead", record, "type", "partner_id", "priority", "active")
    assert (found["type"], found["partner_id"][0], found["priority"], found["active"]) == (
        "opportunity",
        one,
        "2",
        True,
    )
    assert odoo.load("crm.lead", ["id", "priority"], [xid, "3"])["ids"] == [record]
