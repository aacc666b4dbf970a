"""The lane loop: load, decide, append in one transaction; the only room that knows the event store."""
