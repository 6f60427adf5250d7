"""Makes `iris`, the model of docs/guides/serve-your-model.md, with the program that stands there.

Run it in the environment of `examples/requirements.txt`.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDE = (ROOT / "docs/guides/serve-your-model.md").read_text(encoding="utf-8")

folder = ROOT / "tests/models/iris"
folder.mkdir(exist_ok=True)
os.chdir(folder)
exec(re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)[1])
