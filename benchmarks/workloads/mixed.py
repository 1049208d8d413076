"""The load's Python service: JSON, regular expressions and recursion until the seconds are over."""

import json
import re
import sys
import time


def walk(tree: object, depth: int = 0) -> int:
    """Count the leaves, one frame per level."""
    if isinstance(tree, dict):
        return sum(walk(branch, depth + 1) for branch in tree.values())
    return depth


def grow(depth: int) -> object:
    """A tree of dictionaries."""
    return {f"key{branch}": grow(depth - 1) for branch in range(3)} if depth else "leaf of the tree 23"


def main() -> None:
    """Work until the seconds given on the command line have passed."""
    end = time.monotonic() + float(sys.argv[1])
    tree = grow(5)
    while time.monotonic() < end:
        text = json.dumps(tree)
        walk(json.loads(text))
        len(re.findall(r"leaf of the (\w+) \d+", text))


main()
