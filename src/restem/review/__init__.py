"""Looking at what a run found: the report, the review page."""
