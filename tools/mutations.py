"""Random changes of settings and of bytes, for tools/fuzz.py. Equal seeds give equal changes."""

import copy
import datetime
import math
from random import Random

NUMBERS = (0, -1, 1, 0.5, -0.0, 1e308, -1e308, 1e-320, math.inf, math.nan, 2**31, 10**30, -(10**30))
TEXTS = (
    "", " ", "null", "true", "12", "1.5", "1e400", "-", "*", "{}", "{0.__class__}", "%s%n",
    "uniform(0, 1)", "choice()", "uniform(1, 0)", "log_uniform(-1, nan)", "row < ",
    "__import__('os').system('true')", "../../etc", "/", "a/b", "x" * 5000,
    "ä\u0301", "e\u0301\u200b", "名前", "\u202eabc", "\x00", "\ud800",
)  # fmt: skip
DATE = datetime.date(2022, 3, 10)
OTHERS = (None, True, False, [], {}, [None], {"a": None}, [[[]]], DATE, b"\xff")


def value(random: Random):
    """A random value of any type."""
    kind = random.randrange(5)
    if kind == 0:
        return random.choice(NUMBERS)
    if kind == 1:
        return random.choice(TEXTS)
    if kind == 2:
        return copy.deepcopy(random.choice(OTHERS))
    if kind == 3:
        inner = value(random)
        for _ in range(random.choice((1, 2, 40))):
            inner = [inner] if random.random() < 0.5 else {"a": inner}
        return inner
    return random.randrange(-5, 100)


def paths(tree, before: tuple = ()) -> list[tuple]:
    """The places of all values in nested dictionaries and lists, as tuples of keys."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, part in inner:
        found.append((*before, key))
        if isinstance(part, dict | list):
            found += paths(part, (*before, key))
    return found


def _at(tree, path: tuple):
    for key in path:
        tree = tree[key]
    return tree


def change(tree, random: Random) -> None:
    """Change one random place of nested dictionaries and lists."""
    places = paths(tree)
    if not places:
        return
    *parents, last = random.choice(places)
    parent = _at(tree, tuple(parents))
    kind = random.randrange(6)
    if kind == 0:
        del parent[last]
    elif kind == 1 and isinstance(parent, dict):
        parent[_misspelled(last, random)] = parent.pop(last)
    elif kind == 2 and isinstance(parent, dict):
        parent[random.choice((*TEXTS, 1, None, True, 2.5))] = value(random)
    elif kind == 3:
        parent[last] = copy.deepcopy(_at(tree, random.choice(places)))
    elif kind == 4 and not isinstance(parent[last], dict | list):
        parent[last] = str(parent[last])
    else:
        parent[last] = value(random)


def _misspelled(name, random: Random):
    if not isinstance(name, str) or not name:
        return "x"
    place = random.randrange(len(name))
    return random.choice((name[:place] + name[place + 1 :], name.upper(), name + "\u00e9"))


def corrupt(data: bytes, random: Random, other: bytes = b"") -> bytes:
    """Change bytes at random: flips, cuts, insertions, zeros, and pieces of another file."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        # Headers are at the beginning, and directories of zip archives at the end.
        size = len(out)
        reach = random.choice((size, min(size, 64), min(size, 400)))
        at = random.randrange(max(1, reach))
        at = size - 1 - at if random.random() < 0.3 and size else at
        length = random.choice((1, 2, 8, 64, size // 2))
        kind = random.randrange(7)
        if kind == 0:
            out[at : at + 1] = bytes([random.randrange(256)])
        elif kind == 1:
            del out[at:]
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = random.randbytes(min(length, 4096))
        elif kind == 4:
            out[at : at + length] = bytes(min(length, max(0, size - at)))
        elif kind == 5:
            out[at:at] = out[at : at + length]
        elif other:
            out[at:] = other[random.randrange(len(other)) :]
    return bytes(out)
