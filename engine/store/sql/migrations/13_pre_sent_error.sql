-- So that a search for SENT deliveries with an error does not read all that were sent: there is hardly one.
CREATE INDEX delivery_sent_error ON delivery (error_code, error_place)
  WHERE state = 'SENT' AND (error_code IS NOT NULL OR error_place IS NOT NULL);
