"""Pretrained audio encoders: what they hear in a stem, as numbers that a small head can be learnt on."""
