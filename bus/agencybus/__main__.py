"""`python -m agencybus` is `agencybus`."""

import sys

from agencybus.cli import main

sys.exit(main())
