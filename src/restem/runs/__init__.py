"""The results of a refinement: the run folder, people's decisions, findings, exports."""
