"""`connector`, and `python -m connector`."""

from __future__ import annotations

from connector.cli.main import main

if __name__ == "__main__":
    main()
