"""The filter ``where``: items whose attributes meet an expression."""

from __future__ import annotations

from recserve import BoolArray, Catalogue, InvalidRequestError
from recserve_rules.expressions.columns import Columns
from recserve_rules.expressions.conditions import matches, standing
from recserve_rules.expressions.expression import ExpressionError, names, parse
from recserve_rules.parameters import WhereParams


class WhereFilter:
    """Allows items whose attributes meet a condition: a standing one, the request's, or both.

    The columns of the standing expression and of ``request_attributes`` are read here, once; any other
    attribute costs one pass over the catalogue when a request first mentions it.

    Args:
        params: The standing expression and what requests may do.
        catalogue: The items.

    Raises:
        ConfigError: The standing expression cannot be used, or an attribute does not exist.
    """

    def __init__(self, params: WhereParams, catalogue: Catalogue) -> None:
        # Columns that requests name are read later, from the catalogue.
        self._catalogue = catalogue
        self._columns = Columns.of(catalogue)
        self._open = params.request_attributes
        standing_names = names(parse(params.expression)) if params.expression else frozenset[str]()
        self._columns.load({*standing_names, *(params.request_attributes or ())})
        for name in params.request_attributes or ():
            self._columns.required(name, "filter 'where', request_attributes")
        self._standing: BoolArray | None = None
        if params.expression:
            self._standing = standing(params.expression, self._columns, "filter 'where', expression")

    def allowed(self, argument: str | None) -> BoolArray | None:
        """The items that the standing rule and the request's expression match.

        Args:
            argument: The request's expression, None if it has none.

        Returns:
            bool, shape (n_items,), or None for all.

        Raises:
            InvalidRequestError: The expression cannot be used; the message says where and why.
        """
        if argument is None:
            return self._standing
        try:
            self._check_open(argument)
            asked = matches(argument, self._columns)
        except ExpressionError as error:
            raise InvalidRequestError(f"filter 'where': {error}", field="filter.where") from None
        return asked if self._standing is None else asked & self._standing

    def _check_open(self, argument: str) -> None:
        if self._open is None:
            return
        closed = sorted(names(parse(argument)) - set(self._open))
        if closed:
            raise InvalidRequestError(
                f"filter 'where': attribute {closed[0][:60]!r} is not open to requests "
                f"(open: {', '.join(self._open) or 'none'})",
                field="filter.where",
            )
