"""What asv runs; longer ones are in the scripts beside this folder, which also stand alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
