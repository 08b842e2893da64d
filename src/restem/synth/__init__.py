"""Synthesised songs as clean stems, for the demo, the benchmarks and the pretrained classifier."""

from restem.synth.band import FAMILIES, render_band, render_song

__all__ = ["FAMILIES", "render_band", "render_song"]
