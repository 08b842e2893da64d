"""What a refinement leaves: the run folder, people's decisions, findings, exports."""
