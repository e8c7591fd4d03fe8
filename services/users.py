"""Users: one object holds all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from seed import create_once

from dohost.gateway import Service, ServiceError, expose, resolves

UserId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person who orders."""

    id: str
    name: str
    tier: str


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to create a user."""

    id: UserId
    name: Name
    tier: str = "free"


SAMPLE = [
    ("alice", "Alice", "pro"),
    ("bob", "Bob", "starter"),
    ("charlie", "Charlie", "free"),
    ("user-123", "Alice", "free"),
]


class UserServiceDO(Service):
    """Users by id; writes need a credential."""

    schema = """
      extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
      type Query { user(id: ID!): User  users(tier: String): [User!]! }
      type User @key(fields: "id") { id: ID!  name: String!  tier: String! }
    """

    def setup(self) -> None:
        create_once(
            self,
            "users",
            schema="CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, tier TEXT) STRICT",
            rows=SAMPLE,
        )

    @expose("GET /{id}", cache=30, tags=["user:{id}"])
    def get(self, id: str) -> User | None:
        """Return one user."""
        rows = self.ctx.storage.sql.exec("SELECT * FROM users WHERE id = ?", id).toArray()
        return User(**rows[0]) if rows else None

    @expose("GET /", cache=30, tags=["users"])
    def list(self, tier: str | None = None) -> Sequence[User]:
        """Return all users, or those of one tier."""
        rows = self.ctx.storage.sql.exec(
            "SELECT * FROM users WHERE ?1 IS NULL OR tier = ?1 ORDER BY id", tier
        )
        return [User(**row) for row in rows]

    @expose("POST /", status=201, invalidates=["user:{id}", "users"])
    def create(self, user: NewUser) -> User:
        """Create a user; the id must be free."""
        if self.get(user.id) is not None:
            raise ServiceError(409, "user-exists", f"The user id {user.id!r} is taken.")
        self.ctx.storage.sql.exec(
            "INSERT INTO users VALUES (?, ?, ?)", user.id, user.name, user.tier
        )
        return User(id=user.id, name=user.name, tier=user.tier)

    @expose("DELETE /{id}", invalidates=["user:{id}", "users"])
    def delete(self, id: str) -> None:
        """Delete a user; deleting one who is not there is fine."""
        self.ctx.storage.sql.exec("DELETE FROM users WHERE id = ?", id)

    @resolves("Query.user")
    def user(self, id: str) -> User | None:
        return self.get(id)

    @resolves("Query.users")
    def users(self, tier: str | None = None) -> Sequence[User]:
        return self.list(tier)

    @resolves("User", batch=True)
    def users_by_representation(
        self, representations: Sequence[dict[str, str]]
    ) -> Sequence[User | None]:
        return [self.get(each["id"]) for each in representations]
