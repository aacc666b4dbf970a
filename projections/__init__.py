"""What becomes of the log: topics, read models, dead letters, analytics. Nothing here decides anything."""
