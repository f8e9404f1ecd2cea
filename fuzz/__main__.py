"""`python -m fuzz`."""

import faulthandler
import sys

from fuzz import network
from fuzz.run import main

if __name__ == "__main__":  # and not where a process of the run imports it
    network.preload(["-m", "fuzz", *sys.argv[1:]])
    faulthandler.enable()
    sys.exit(main())
