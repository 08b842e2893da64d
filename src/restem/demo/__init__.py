"""The whole method on a generated band whose truth is known."""
