"""A turn whose app put text under keys of its own, and that failed; for the tests of the view."""

from __future__ import annotations

from turn_stories import MS, START_NS, TRACE_ID, Story

from turntrace.guard.exceptions import is_safe_stack
from turntrace.store.contract import StoredEvent, StoredLink

ORDER = f"{2:016x}"
"""The span that has all of it."""
LONG = "job.note.of.whoever.asked.for.it.in.the.first.place"
PASTED = 'turntrace.register_attributes({"customer.note": "id"})'

_CAUSE = [f"    shop/stock/shelves.py:{line} in Shelves.take" for line in range(40, 52)]
STACK = "\n".join(
    [
        "shop.errors.OrderFailed",
        "  shop/orders/checkout.py:118 in Checkout.place_order",
        "  shop/orders/handlers.py:44 in on_order.<locals>.run",
        "caused by sqlalchemy.exc.OperationalError",
        "  sqlalchemy/engine/default.py:924 in DefaultDialect.do_execute",
        "  shop/stock/tables.py:61 in reserve",
        "  member KeyError",
        *_CAUSE,
        "while handling <withheld>",
        "  <withheld>:3 in <withheld>",
    ]
)
"""In the guard's own format."""
assert is_safe_stack(STACK)


def withheld_story() -> Story:
    """Return a turn of three spans: the second has withheld keys on itself, an event and a link."""
    story = Story()
    root = story.add("POST /orders", "", 0, 120, {"turntrace.turn.outcome": "error"}, error="x.Y")
    event = StoredEvent(
        name="exception",
        time_ns=START_NS + 60 * MS,
        attributes={
            "exception.type": "shop.errors.OrderFailed",
            "exception.escaped": True,
            "exception.message": "more than 20 orders a minute",
            "exception.stacktrace": STACK,
            "turntrace.withheld.keys": ["order.reason"],
            "order.reason.length": 12,
        },
        dropped_attributes=1,
    )
    link = StoredLink(
        trace_id="33" * 16,
        span_id="44" * 8,
        attributes={"turntrace.withheld.keys": [LONG], f"{LONG}.length": 5},
        dropped_attributes=1,
    )
    story.add(
        "place order",
        root,
        10,
        100,
        {
            "order.items": 3,
            "customer.note.length": 27,
            "order.reference.length": 1204,
            "gift card text.length": 4,
            "turntrace.withheld.keys": ["customer.note", "order.reference", "gift card text"],
        },
        error="shop.errors.OrderFailed",
        events=(event,),
        links=(link,),
        dropped_attributes=5,
    )
    story.add("SELECT orders", ORDER, 20, 10, {"db.system.name": "postgresql"})
    assert story.trace_id == TRACE_ID
    return story
