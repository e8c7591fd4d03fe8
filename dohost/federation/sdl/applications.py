"""Where a document applies directives: known places, known and required arguments, repeated or not.

The rules are GraphQL's own. What a document leaves undefined, because federation defines it, is defined for
the check under the names that its links give.
"""

from __future__ import annotations

from graphql import (
    DirectiveDefinitionNode,
    DocumentNode,
    GraphQLError,
    parse,
)
from graphql.validation import KnownDirectivesRule, UniqueDirectivesPerLocationRule
from graphql.validation.rules.known_argument_names import KnownArgumentNamesOnDirectivesRule
from graphql.validation.rules.provided_required_arguments import (
    ProvidedRequiredArgumentsOnDirectivesRule,
)
from graphql.validation.validate import validate_sdl

from dohost.federation.sdl.directive_definitions import SIGNATURES, Signature
from dohost.federation.sdl.link import Links

_RULES = (
    KnownArgumentNamesOnDirectivesRule,
    KnownDirectivesRule,
    ProvidedRequiredArgumentsOnDirectivesRule,
    UniqueDirectivesPerLocationRule,
)
# The reader knows better which names are a link's, so it reports the unknown ones itself.
_UNKNOWN = "Unknown directive"


def application_errors(document: DocumentNode, links: Links) -> list[GraphQLError]:
    """Return every application that its directive's definition forbids."""
    defined = {n.name.value for n in document.definitions if isinstance(n, DirectiveDefinitionNode)}
    missing = [
        _definition(local, signature)
        for canonical, signature in SIGNATURES.items()
        for local in _local_names(canonical, links)
        if local not in defined
    ]
    extra = parse("\n".join(missing), no_location=True).definitions if missing else ()
    whole = DocumentNode(definitions=(*extra, *document.definitions))
    return [e for e in validate_sdl(whole, rules=_RULES) if not e.message.startswith(_UNKNOWN)]


def _local_names(canonical: str, links: Links) -> set[str]:
    names = {local for local, name in links.directives.items() if name == canonical}
    return names if links.version is None else {*names, f"{links.prefix}{canonical}"}


def _definition(name: str, signature: Signature) -> str:
    given = {**signature.required, **signature.optional}
    arguments = ", ".join(f"{n}: {types[0]}" for n, types in given.items())
    repeatable = " repeatable" if signature.is_repeatable else ""
    locations = " | ".join(signature.locations.split())
    return f"directive @{name}{f'({arguments})' if arguments else ''}{repeatable} on {locations}"
