"""``python -m epollo`` is the ``epollo`` command. Python imports the package before this, and heeds
Ctrl-C in its own way until then."""

from epollo_command import main

main()
