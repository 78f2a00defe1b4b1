"""Turn zaidash.py into the package that a wheel holds; everything else is in pyproject.toml.

Only a package can have files of its own beside it, which is where zaidash looks for its page, in a
directory that belongs to nobody else; and only a package can say that it is typed (PEP 561 leaves
single modules out). An editable installation keeps the module as it lies in the checkout.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.errors import FileError

MAIN = "import sys\n\nfrom zaidash import main\n\nsys.exit(main())\n"


class BuildPackage(build_py):
    """Build `zaidash/` instead of `zaidash.py`."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.make_package(Path(self.build_lib))

    def make_package(self, build_lib: Path) -> None:
        static = Path("static").resolve()
        if not (static / "index.html").is_file():
            raise FileError(f"no page in {static}: run make page first")
        package = build_lib / "zaidash"
        # `pip install .` builds in the checkout: what an earlier page left would be shipped, too.
        shutil.rmtree(package, ignore_errors=True)
        shutil.copytree(static, package / "static", ignore=shutil.ignore_patterns(".*"))
        (build_lib / "zaidash.py").replace(package / "__init__.py")
        (package / "__main__.py").write_text(MAIN, encoding="utf-8")
        (package / "py.typed").touch()


setup(cmdclass={"build_py": BuildPackage})
