"""Source separation: models, training on stems with label sets, streaming inference."""
