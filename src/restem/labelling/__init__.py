"""What is in a stem: mixing, the classifier, scoring, deciding, and the rounds of refinement."""
