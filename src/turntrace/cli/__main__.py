"""`python -m turntrace.cli`, for where no script is installed."""

import sys

from turntrace.cli import main

sys.exit(main())
