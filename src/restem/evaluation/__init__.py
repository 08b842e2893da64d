"""Metrics of labels against the truth, and of separated songs against their stems."""
