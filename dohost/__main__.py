"""Run the command line as `python -m dohost`."""

from dohost.cli import main

if __name__ == "__main__":
    main()
