"""Lets the tests here import `obvious`, the plain implementation beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
