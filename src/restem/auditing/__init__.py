"""What is wrong with a dataset besides its labels: duplicates, mixtures that do not add up, bleed, damage."""
