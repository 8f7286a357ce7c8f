-- Resources that were only read because another referred to them, and not looked for since.
CREATE INDEX snapshot_met ON snapshot (channel) WHERE message_id < 0;
