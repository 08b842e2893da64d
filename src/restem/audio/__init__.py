"""Sound in and out: decoding, writing, levels, mel power and the store that keeps it."""
