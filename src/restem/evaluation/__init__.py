"""How good labels and separations are, in numbers and in the terminal."""
