"""`python -m pyg_equiformer.cli`: the command, for torchrun and where the script is not on the path."""

from . import main

if __name__ == "__main__":
    main()
