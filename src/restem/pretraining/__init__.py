"""Makes what comes with restem pretrained, a classifier and heads for encoders, from generated songs only."""
