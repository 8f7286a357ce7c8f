"""What the settings mean that several formats have."""

CONTROL_ID = "Path of what names a message for its sender; with it a message that is sent again is found."
TYPE = "Path of the message's type, for `message_type` and searches."
SENDER = "Path of the name of the sending system."
MRN = "Path of the medical record number: for searches, and the ordering key where the channel names none."
VISIT = "Path of the visit number, for searches."
