"""Makes the library importable for the tools: `import _library` before `from soups import …`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
