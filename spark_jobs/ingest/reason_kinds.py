"""The kinds of reasons by which a line is refused, whoever judges it."""

from datetime import date

UNREADABLE_TIME = "unreadable event_time"
AFTER_LANDING_DAY = "event_time after its landing day"
NOBODYS_LINE = "user_id of nobody"
NUL_IN_USER = "NUL character in user_id"  # which nobody could name to have the user forgotten
EARLIEST_TIME = date(
    1990, 1, 1
)  # the web's first year; a page view from before it is a broken clock
SHOWN_CHARACTERS = 40  # of a time in a reason
