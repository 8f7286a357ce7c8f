"""What happens to a message: one file a filter or transformer; all pure functions."""
