from __future__ import annotations

import sys

from training.app import main

sys.exit(main())
