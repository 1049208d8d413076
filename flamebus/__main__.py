"""``python -m flamebus``."""

from flamebus.cli import main

if __name__ == "__main__":
    main()
