import sys
from pathlib import Path

# Tests are imported by path (importlib mode), so their helper module has to be made findable.
sys.path.insert(0, str(Path(__file__).parent))
