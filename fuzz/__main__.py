"""`python -m fuzz`."""

import faulthandler
import sys

from fuzz.run import main

if __name__ == "__main__":  # and not where a process of the run imports it
    faulthandler.enable()
    sys.exit(main())
