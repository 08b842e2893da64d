"""Separators, classifiers and runs on the Hugging Face hub: what is sent, its card, and what is taken back."""
