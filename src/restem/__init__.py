"""restem."""
