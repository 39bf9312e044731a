"""`python -m warmpool_cli` is `warmpool`."""

from warmpool_cli.entry import main

main()
