"""The generated band of the demo: songs made of nothing but numpy, as clean stems."""

from restem.synth.band import FAMILIES, render_band, render_song

__all__ = ["FAMILIES", "render_band", "render_song"]
