"""Random operations on keys, values, alarms and ids."""

from __future__ import annotations

from random import Random

from tests.conformance.live.neutral import Encoded
from tests.conformance.live.scenario import Operation

KEYS = (
    *(
        "a",
        "b",
        "ab",
        "abc",
        "b1",
        "b2",
        "c",
        "Z",
        "zz",
        "",
        "é",
        "ﬀ",
        "\U0001f600",
        "a\x00b",
        "a b",
    ),
    *("\ud7ff", "\uffff", "\U0010ffff", "a\U0010ffff"),
)
ODD_KEYS: tuple[Encoded, ...] = (5, 0, -3, True, False, None)
ODD_KEYS += tuple(
    {"$float": text} for text in ("1.5", "1e21", "1e-7", "0.00001", "NaN", "-Infinity")
)
TEXTS = ("", "text", "é\U0001f600", "a\x00b", "\ud800x", '"\\', "0", "{}", "null", "$x", "x" * 300)
NUMBERS: tuple[Encoded, ...] = (0, 1, -1, 255, 2**31, 2**53 - 1, -(2**53) + 1)
NUMBERS += tuple(
    {"$float": text}
    for text in (
        "1.5",
        "-0.1",
        "1e300",
        "5e-324",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e21",
        "2.0",
        "-0",
    )
)
NUMBERS += ({"$float": "9007199254740992"}, {"$bigint": "9007199254740993"}, {"$bigint": "-1"})
NAMES = ("x", "y", "length", "items", "$bytes", "$$", "é", "", "a b", "$date")
FAR = (4_102_444_800_000, 4_102_444_800_123, 5_000_000_000_000, 9_223_372_036_854)
NO_TIME: tuple[Encoded, ...] = (0, -1, {"$float": "NaN"}, {"$float": "Infinity"}, "x", None, True)
NO_TIME += (9_223_372_036_855, 8_640_000_000_000_000, 8_640_000_000_000_001, {"$dict": []})
NO_TIME += ({"$bigint": "4102444800000"}, {"$float": "-0.5"}, {"$date": -1})
PAST: tuple[Encoded, ...] = (1, 1000, {"$float": "0.5"}, {"$date": 5})
WRITE_OPTIONS = ("allowUnconfirmed", "allowConcurrency", "noCache")
ID_NAMES = ("x", "y", "", "é", "\U0001f600", "a" * 1024, "a" * 1025, "é" * 513, "a\x00b")
NO_IDS = (
    "",
    "abc",
    "0" * 63,
    "0" * 64,
    "g" * 64,
    "0" * 65,
    "é" * 64,
    " " + "0" * 63,
    "0x" + "0" * 62,
)


def key(random: Random) -> Encoded:
    """Return a key, now and then one that is no text."""
    return random.choice(ODD_KEYS) if random.random() < 0.04 else random.choice(KEYS)


def value(random: Random, depth: int = 3) -> Encoded:
    """Return a value to be stored."""
    kind = random.randrange(12 if depth else 7)
    match kind:
        case 0 | 1:
            return random.choice(TEXTS)
        case 2 | 3:
            return random.choice(NUMBERS)
        case 4:
            return random.choice((None, True, False))
        case 5:
            return {"$bytes": random.choice(("", "00", "ff0f", "7465787400"))}
        case 6:
            return {"$date": random.choice((0, -1, 1_700_000_000_123, 253_402_300_799_999))}
        case 7 | 8:
            return [value(random, depth - 1) for _ in range(random.randrange(4))]
        case 9:
            return {"$dict": [[each, value(random, depth - 1)] for each in names(random)]}
        case 10:
            return {"$set": list(dict.fromkeys(random.choices(TEXTS, k=random.randrange(3))))}
        case _:
            tag = random.choice(("$twice", "$cycle", "$exception", "$dict"))
            if tag == "$dict":
                return {"$dict": [[each, random.choice(NUMBERS)] for each in names(random)]}
            inner: Encoded = {"$dict": [["n", 1]]} if tag != "$exception" else random.choice(TEXTS)
            return {tag: inner}


def names(random: Random) -> list[str]:
    """Return distinct property names."""
    return random.sample(NAMES, random.randrange(4))


def list_options(random: Random) -> Encoded:
    """Return options of `list`."""
    bounds = ("start", "startAfter", "end", "prefix")
    options: list[Encoded] = [[each, key(random)] for each in bounds if random.random() < 0.25]
    if random.random() < 0.3:
        options.append(["reverse", random.choice((True, False))])
    if random.random() < 0.4:
        options.append(["limit", limit(random)])
    return {"$dict": options}


def limit(random: Random) -> Encoded:
    """Return a limit, now and then a wrong one."""
    if random.random() < 0.85:
        return random.choice((1, 2, 3, 10))
    odd: tuple[Encoded, ...] = (
        0,
        -1,
        "2",
        "x",
        "",
        True,
        None,
        2**31 - 1,
        2**31,
        {"$float": "1.9"},
    )
    return random.choice(
        (*odd, {"$float": "NaN"}, {"$float": "0.9"}, {"$float": "-Infinity"}, " 3 ")
    )


def write_options(random: Random) -> list[Encoded]:
    """Return the last argument of a write, if it has one."""
    if random.random() < 0.8:
        return []
    if random.random() < 0.1:
        return [random.choice((5, "x", True))]
    chosen = random.sample(WRITE_OPTIONS, random.randrange(3))
    return [{"$dict": [[name, random.choice((True, False))] for name in chosen]}]


def asynchronous(random: Random, target: str) -> Operation:
    """Return an operation of the asynchronous API, on the storage or a transaction."""
    match random.randrange(12):
        case 0 | 1 | 2:
            return ["call", target, "put", [key(random), value(random), *write_options(random)]]
        case 3:
            entries: Encoded = [[str(each), value(random)] for each in random.sample(KEYS, 3)]
            return ["call", target, "put", [{"$dict": entries}, *write_options(random)]]
        case 4 | 5:
            return ["call", target, "get", [key(random)]]
        case 6:
            return ["call", target, "get", [[key(random) for _ in range(random.randrange(5))]]]
        case 7:
            return ["call", target, "delete", [key(random), *write_options(random)]]
        case 8:
            return ["call", target, "delete", [[key(random) for _ in range(random.randrange(5))]]]
        case 9:
            # As keywords half of the time.
            named: list[Encoded] = [True] if random.random() < 0.5 else []
            return ["call", target, "list", [list_options(random)], *named]
        case 10:
            return ["call", target, "list", []]
        case _:
            return odd(random, target)


def odd(random: Random, target: str) -> Operation:
    """Return a call that is refused, or that has an effect of its own."""
    match random.randrange(7):
        case 6:
            return ["call", target, "put", ["a", [{"$function": True}]]]
        case 0:
            return ["call", target, "put", ["a"]]
        case 1:
            return ["call", target, "put", [{"$dict": [["a", 1]]}, random.choice((5, None, "x"))]]
        case 2:
            return ["call", target, "list", [random.choice((5, "x", None, True))]]
        case 3:
            return ["call", target, "deleteAll", []]
        case 4:
            return ["call", target, "get", ["a", random.choice((5, None, "x"))]]
        case _:
            return ["unawaited", target, "put", ["a", value(random)]]


def synchronous(random: Random) -> Operation:
    """Return an operation of the synchronous API."""
    match random.randrange(8):
        case 0 | 1:
            return ["call_sync", "kv", "put", [key(random), value(random)]]
        case 2 | 3:
            return ["call_sync", "kv", "get", [key(random)]]
        case 4:
            return ["call_sync", "kv", "delete", [key(random)]]
        case 5:
            return ["list", random.choice("ij"), list_options(random)]
        case _:
            return ["step", random.choice("ij"), random.choice((0, 1, 2, 200))]


def alarm(random: Random, target: str) -> Operation:
    """Return an operation on the alarm, always far in the future."""
    match random.randrange(8):
        case 7:
            return ["past_alarm", random.choice(PAST)]
        case 0 | 1:
            return ["call", target, "setAlarm", [random.choice(FAR), *write_options(random)]]
        case 2:
            due: Encoded = random.choice(({"$date": FAR[1]}, {"$float": "4102444800000.9"}))
            return ["call", target, "setAlarm", [due]]
        case 3:
            return ["call", target, "setAlarm", [random.choice(NO_TIME)]]
        case 4 | 5:
            return ["call", target, "getAlarm", []]
        case _:
            return ["call", target, "deleteAlarm", []]


def identity(random: Random) -> Operation:
    """Return an operation on ids and namespaces."""
    match random.randrange(8):
        case 0:
            return ["ids", "own", []]
        case 1:
            return ["ids", "unique", []]
        case 2:
            return ["ids", "round_trip", [random.choice(ID_NAMES)]]
        case 3:
            return ["ids", "foreign", [random.choice(ID_NAMES)]]
        case 4:
            return ["ids", "equal", random.choices(ID_NAMES[:3], k=2)]
        case 5:
            option = random.choice(("routingMode", "locationHint"))
            mode = random.choice(("primary-only", "x", "", "wnam"))
            return ["ids", "stub", [random.choice(ID_NAMES), {"$dict": [[option, mode]]}]]
        case 6:
            return ["ids", "idFromString", [random.choice(NO_IDS)]]
        case _:
            return ["ids", "jurisdiction", [random.choice((None, "eu", "x"))]]
