"""`python -m analysis.claims`; see analysis/claims/tables.py."""

import sys

from analysis.claims.tables import main

sys.exit(main())
