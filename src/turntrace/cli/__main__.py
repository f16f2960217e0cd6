"""`python -m turntrace.cli`, for where no script is installed."""

import sys

from turntrace.cli.commands import main

sys.exit(main())
