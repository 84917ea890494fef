"""``python -m medvox`` is the same as the ``medvox`` command."""

from __future__ import annotations

import sys

from medvox.cli import main

sys.exit(main())
