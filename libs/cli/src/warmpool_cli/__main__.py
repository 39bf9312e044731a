"""`python -m warmpool_cli` is `warmpool`."""

from warmpool_cli.main import main

main()
