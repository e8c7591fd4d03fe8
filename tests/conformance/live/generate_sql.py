"""Random SQL: a grammar of statements with bindings, on three tables of four columns.

It knows nothing of what exists: a statement on a table that is not there is a case, too.
"""

from __future__ import annotations

from random import Random

from tests.conformance.live.neutral import Encoded
from tests.conformance.live.scenario import Operation
from tests.conformance.live.sql_words import (
    AGGREGATES,
    BINDINGS,
    COLUMNS,
    CONSTRAINTS,
    DENIED,
    FUNCTIONS,
    LITERALS,
    NO_STATEMENTS,
    ODD_BINDINGS,
    PRAGMAS,
    READS,
    TABLES,
    TYPES,
    WAYS,
)


def column(random: Random) -> str:
    """Return the name of a column."""
    return random.choice(COLUMNS)


class Statement:
    """A statement that is being written, with its bindings in the order of their marks."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.bindings: list[Encoded] = []

    def text(self) -> str:
        """Write one statement."""
        random = self._random
        writers = (
            *(self.create, self.insert, self.insert, self.insert, self.select, self.select),
            *(self.select, self.update, self.delete, self.change, self.compound),
        )
        return random.choice(writers)()

    def term(self, *, columns: bool = True) -> str:
        """Write a column, a literal or a parameter."""
        random = self._random
        chance = random.random()
        if columns and chance < 0.4:
            return column(random)
        if chance < 0.7:
            return random.choice(LITERALS)
        is_odd = random.random() < 0.03
        self.bindings.append(random.choice(ODD_BINDINGS if is_odd else BINDINGS))
        return "?"

    def expression(self, *, columns: bool = True) -> str:
        """Write an expression."""
        random = self._random
        if random.random() < 0.35:
            return self.term(columns=columns)
        form = random.choice(DENIED if random.random() < 0.03 else FUNCTIONS)
        # What a form leaves out must not leave a binding behind.
        first = self.term(columns=columns) if "{0}" in form else ""
        second = self.term(columns=columns) if "{1}" in form else ""
        return form.format(first, second)

    def create(self) -> str:
        """Write a CREATE."""
        random = self._random
        match random.randrange(8):
            case 0:
                return f"CREATE INDEX IF NOT EXISTS i{random.randrange(3)} ON {self.table()}({column(random)})"
            case 1:
                return f"CREATE VIEW IF NOT EXISTS v0 AS SELECT a, b FROM {self.table()}"
            case 2:
                table = self.table()
                return (
                    f"CREATE TRIGGER IF NOT EXISTS g{random.randrange(2)} AFTER INSERT ON {table} "
                    f"BEGIN UPDATE {table} SET b = new.a WHERE a = new.a; END"
                )
            case 3:
                return "CREATE VIRTUAL TABLE IF NOT EXISTS f0 USING fts5(x, y, tokenize = 'porter')"
        columns = [self.definition(each) for each in COLUMNS[: random.randrange(2, 5)]]
        ending = random.choice(("", "", "", "", " STRICT", " WITHOUT ROWID"))
        if_not = random.choice(("IF NOT EXISTS ", "IF NOT EXISTS ", ""))
        return f"CREATE TABLE {if_not}{self.table()} ({', '.join(columns)}){ending}"

    def definition(self, name: str) -> str:
        """Write a column's definition."""
        random = self._random
        kind = random.choice(TYPES)
        if name == "a":
            key = random.choice(("PRIMARY KEY", "PRIMARY KEY", "PRIMARY KEY AUTOINCREMENT", ""))
            return f"a {random.choice(('INTEGER', 'INTEGER', kind))} {key}".strip()
        constraint = random.choice(CONSTRAINTS) if random.random() < 0.25 else ""
        return f"{name} {kind} {constraint}".strip()

    def table(self) -> str:
        """Write a table's name."""
        return self._random.choice(TABLES)

    def insert(self) -> str:
        """Write an INSERT."""
        random = self._random
        if random.random() < 0.1:
            self.bindings.append(random.choice(("running dogs", "a cat", "Dog")))
            return "INSERT INTO f0 (x, y) VALUES (?, 'the dog runs')"
        verb = (
            "INSERT"
            if random.random() < 0.6
            else random.choice(
                (
                    "INSERT OR REPLACE",
                    "INSERT OR IGNORE",
                    "INSERT OR ABORT",
                    "INSERT OR FAIL",
                    "REPLACE",
                )
            )
        )
        columns = COLUMNS[: random.randrange(1, 5)]
        rows = random.choice((1, 1, 1, 2, 3))
        values = [
            f"({', '.join(self.expression(columns=False) for _ in columns)})" for _ in range(rows)
        ]
        ending = random.choice(
            ("", "", "", " RETURNING *", " RETURNING a, b AS x", " ON CONFLICT DO NOTHING")
        )
        return (
            f"{verb} INTO {self.table()} ({', '.join(columns)}) VALUES {', '.join(values)}{ending}"
        )

    def select(self) -> str:
        """Write a SELECT."""
        random = self._random
        if random.random() < 0.08:
            self.bindings.append(random.choice(("dog", "run*", "x:cat", '"', "run NOT cat")))
            return "SELECT rowid, highlight(f0, 0, '<', '>') AS h FROM f0(?) ORDER BY rank, rowid"
        if random.random() < 0.25:
            return self.bare()
        results = self.results()
        where = f" WHERE {self.expression()}" if random.random() < 0.4 else ""
        order = random.choice(("", " ORDER BY 1", " ORDER BY a DESC", " ORDER BY b, a"))
        ending = random.choice(("", "", " LIMIT 2", " LIMIT 1 OFFSET 1"))
        return f"SELECT {results} FROM {self.table()}{where}{order}{ending}"

    def results(self) -> str:
        """Write what a SELECT is to give."""
        random = self._random
        chance = random.random()
        if chance < 0.2:
            return "*"
        if chance < 0.35:
            return random.choice(AGGREGATES).format(column(random))
        return ", ".join(self.expression() for _ in range(random.randrange(1, 4)))

    def bare(self) -> str:
        """Write a SELECT without a table."""
        results = [self.expression(columns=False) for _ in range(self._random.randrange(1, 4))]
        return f"SELECT {', '.join(results)}"

    def update(self) -> str:
        """Write an UPDATE."""
        random = self._random
        setting = f"UPDATE {self.table()} SET {column(random)} = {self.expression()}"
        where = f" WHERE {self.expression()}" if random.random() < 0.7 else ""
        return setting + where + random.choice(("", "", " RETURNING *"))

    def delete(self) -> str:
        """Write a DELETE."""
        return f"DELETE FROM {self.table()} WHERE {self.expression()}"

    def change(self) -> str:
        """Write a change of the schema."""
        random = self._random
        return random.choice(
            (
                f"DROP TABLE IF EXISTS {self.table()}",
                f"DROP TABLE {self.table()}",
                f"DROP INDEX IF EXISTS i{random.randrange(3)}",
                f"ALTER TABLE {self.table()} ADD COLUMN d {random.choice(TYPES)}",
                f"ALTER TABLE {self.table()} RENAME COLUMN {column(random)} TO {column(random)}",
                f"ALTER TABLE {self.table()} DROP COLUMN {column(random)}",
                f"ALTER TABLE {self.table()} RENAME TO {self.table()}",
                "DROP VIEW IF EXISTS v0",
            )
        )

    def compound(self) -> str:
        """Write joins, compounds and common table expressions."""
        random = self._random
        first, second = self.table(), self.table()
        return random.choice(
            (
                f"SELECT * FROM {first} x JOIN {second} y ON x.a = y.a ORDER BY 1",
                f"SELECT x.a, y.a, x.b FROM {first} x LEFT JOIN {second} y USING (a) ORDER BY 1",
                f"SELECT a FROM {first} UNION SELECT b FROM {second} ORDER BY 1",
                f"SELECT a FROM {first} EXCEPT SELECT 1 INTERSECT SELECT 2",
                "SELECT 1" + " UNION ALL SELECT 2" * random.choice((4, 5)),
                "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 5) SELECT n FROM r",
                f"SELECT b, count(*), sum(a) FROM {first} GROUP BY b HAVING count(*) > 0 ORDER BY 1",
                "SELECT key, value FROM json_each('[1,\"x\",null,2.5]')",
                f"SELECT name, type FROM pragma_table_info('{first}')",
                f"SELECT * FROM {first} WHERE a IN (SELECT a FROM {second}) ORDER BY 1",
                "SELECT name, tbl_name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%' ORDER BY 1",
                f"SELECT a, b, a AS b FROM {first} ORDER BY 1",
                "SELECT * FROM v0 ORDER BY 1",
            )
        )


def query(random: Random) -> tuple[str, list[Encoded]]:
    """Return SQL text and its bindings, now and then too many or too few."""
    chance = random.random()
    if chance < 0.08:
        return random.choice(NO_STATEMENTS), []
    if chance < 0.16:
        return f"PRAGMA {random.choice(PRAGMAS)}", []
    statement = Statement(random)
    text = statement.text()
    bindings = statement.bindings
    if random.random() < 0.06:
        text = f"{Statement(random).compound()}; {text}"
    if random.random() < 0.02:
        text = f"{text}; {Statement(random).compound()};"
    if random.random() < 0.03:
        bindings = [*bindings, 1] if random.random() < 0.5 else bindings[:-1]
    return text, bindings


def statement(random: Random) -> Operation:
    """Return an operation on SQL."""
    chance = random.random()
    if chance < 0.04:
        return ["size"]
    text, bindings = query(random)
    # What `PRAGMA optimize(-1)` would do depends on the tables of the host: it is not read in pieces.
    if chance < 0.14 and "optimize" not in text:
        return ["open", random.choice("xyz"), text, list(bindings)]
    if chance < 0.24:
        return ["read", random.choice("xyz"), random.choice(READS)]
    return ["exec", text, list(bindings), random.choice(WAYS)]
