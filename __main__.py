"""`python -m stgcma` is the `stgcma` command."""

from .cli import main

main()
