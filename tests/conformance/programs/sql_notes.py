"""Notes that can be searched: SQL, an index of words that triggers keep, and transactions."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from workers import DurableObject, Response, WorkerEntrypoint

SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  title TEXT NOT NULL CHECK (title <> ''),
  body TEXT NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
  title, body, content = 'notes', content_rowid = 'id', tokenize = 'porter'
);
CREATE TRIGGER IF NOT EXISTS note_added AFTER INSERT ON notes BEGIN
  INSERT INTO words (rowid, title, body) VALUES (new.id, new.title, new.body);
END;
CREATE TRIGGER IF NOT EXISTS note_removed AFTER DELETE ON notes BEGIN
  INSERT INTO words (words, rowid, title, body) VALUES ('delete', old.id, old.title, old.body);
END;
"""


class Notes(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.sql = ctx.storage.sql
        self.sql.exec(SCHEMA)

    def add_all(self, notes):
        """Add all of the notes or, if one is wrong, none; return their numbers."""

        def add():
            return [self._add(note["title"], note["body"]) for note in notes]

        return self.ctx.storage.transactionSync(add)

    def _add(self, title, body):
        text = "INSERT INTO notes (title, body) VALUES (?, ?) RETURNING id"
        return self.sql.exec(text, title, body).one()["id"]

    def remove(self, number):
        return self.sql.exec("DELETE FROM notes WHERE id = ? RETURNING id", number).toArray() != []

    def search(self, words):
        cursor = self.sql.exec(
            "SELECT notes.id, notes.title, snippet(words, 1, '[', ']', '…', 6) AS part "
            "FROM words JOIN notes ON notes.id = words.rowid "
            "WHERE words MATCH ? ORDER BY rank, notes.id LIMIT 10",
            words,
        )
        return [{"id": row["id"], "title": row["title"], "part": row["part"]} for row in cursor]


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        notes = self.env.NOTES.getByName("everybody's")
        if request.method == "POST":
            return Response.json(await notes.add_all(await request.json()), status=201)
        if request.method == "DELETE":
            number = int(urlsplit(request.url).path.strip("/"))
            return Response(None, status=204 if await notes.remove(number) else 404)
        words = parse_qs(urlsplit(request.url).query).get("q", [""])[0]
        return Response.json(await notes.search(words))
