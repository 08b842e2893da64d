"""Datasets: reading folders and CSVs into a table of stems, scanning them, and making noisy copies."""
