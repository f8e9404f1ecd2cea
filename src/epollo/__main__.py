"""``python -m epollo`` is the ``epollo`` command."""

from epollo.cli import main

main()
