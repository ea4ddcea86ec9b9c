"""Allocates as everyday programs do, and prints what must not depend on where."""

import collections
import hashlib
import json
import random
import re
import sys


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def records(rng, count):
    """Many small dictionaries with strings of every length, kept and sorted."""
    people = [
        {
            "id": number,
            "name": "".join(rng.choices("abcdefghij", k=rng.randint(3, 40))),
            "tags": [f"tag{rng.randrange(500)}" for _ in range(rng.randrange(8))],
            "score": rng.random(),
        }
        for number in range(count)
    ]
    text = json.dumps(people)
    again = sorted(json.loads(text), key=lambda person: (person["name"], person["id"]))
    return digest(json.dumps(again))


def words(rng, count):
    """Text cut up, counted and put together again."""
    text = " ".join(f"w{rng.randrange(5000)}x" for _ in range(count))
    counted = collections.Counter(re.findall(r"w(\d+)x", text))
    replaced = re.sub(r"w(\d)(\d*)x", lambda found: found[2] + found[1], text)
    return digest(repr(counted.most_common(50)) + replaced)


class Node:
    __slots__ = ("key", "left", "right")

    def __init__(self, key):
        self.key, self.left, self.right = key, None, None


def tree(rng, count):
    """A binary tree of objects: inserted one by one, walked, dropped."""
    root = Node(0.5)
    for _ in range(count):
        key, at = rng.random(), root
        while True:
            side = "left" if key < at.key else "right"
            below = getattr(at, side)
            if below is None:
                setattr(at, side, Node(key))
                break
            at = below
    total, stack = 0.0, [root]
    while stack:
        node = stack.pop()
        total += node.key
        stack.extend(child for child in (node.left, node.right) if child)
    return f"{total:.6f}"


def buffers(rng, count):
    """Byte strings that grow, up to the sizes that come straight from the system."""
    kept, seen = collections.deque(maxlen=32), hashlib.sha256()
    for _ in range(count):
        grown = bytearray()
        for _ in range(rng.randrange(1, 40)):
            grown += rng.randbytes(rng.randrange(1, 6000))
        kept.append(bytes(grown))
        seen.update(kept[rng.randrange(len(kept))][:64])
    return seen.hexdigest()[:16]


def numbers(count):
    """Big integers: blocks of ever new sizes."""
    value = 1
    for factor in range(1, count):
        value *= factor
    return digest(hex(value))


def main():
    rng = random.Random(42)
    for turn in range(int(sys.argv[1])):
        print(turn, "records", records(rng, 12_000))
        print(turn, "words", words(rng, 60_000))
        print(turn, "tree", tree(rng, 10_000))
        print(turn, "buffers", buffers(rng, 400))
        print(turn, "numbers", numbers(3_000))


main()
