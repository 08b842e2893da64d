"""Audio files and what is computed from them: reading, writing, levels, mel power, and on-disk stores."""
