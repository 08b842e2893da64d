"""What a command would read, write and take, said before it is done."""
