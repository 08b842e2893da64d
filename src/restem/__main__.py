"""`python -m restem`: the command line."""

from restem.cli.main import main

if __name__ == "__main__":
    main()
