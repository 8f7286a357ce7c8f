-- How much there had been to learn from, so that a dictionary is made anew when there is much more.
ALTER TABLE dictionary ADD COLUMN bodies INTEGER NOT NULL DEFAULT 0;
