"""``python -m epollo`` is the ``epollo`` command. Before this module runs, Python has imported the
package, and handles Ctrl-C in its own way."""

from epollo_command import main

main()
