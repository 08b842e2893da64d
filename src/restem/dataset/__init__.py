"""What stems there are: reading layouts, corrupting copies, exporting refined datasets."""
