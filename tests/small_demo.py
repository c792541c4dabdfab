"""A lake of five users with the names and days of the demo, which the guides speak of."""

from datetime import date

import small_model
from small_lake import embedding, publish, views, write

from contracts.forecasts import FORECAST_NAMES

FRIDAY, SATURDAY = date(2017, 6, 30), date(2017, 7, 1)  # the nights of `make run`
MODEL = "nrms-2017-06-29"
USERS = ("1", "12", "13", "46", "290")


def write_demo(places):
    """Users of the demo with vectors of both nights, and the model that made them."""
    small_model.save(places, MODEL)
    rows = [
        embedding(
            user,
            day,
            [1 + n, 2, day.day % 7],
            model=MODEL,
            **dict.fromkeys(FORECAST_NAMES, 0.1 * n),
        )
        for n, user in enumerate(USERS)
        for day in (FRIDAY, SATURDAY)
    ]
    publish(places, rows)
    model = {
        "model_id": MODEL,
        "settings": "{}",
        "measures": "{}",
        "inputs": "{}",
        "status": "champion",
    }
    write(places, "models", [model])
    titles = [
        {"title_id": n, "title": title, "words": title.split()}
        for n, title in small_model.TITLES.items()
    ]
    write(places, "titles", titles)
    sequences = [views(user, day, 11, 22, 33) for user in USERS for day in (FRIDAY, SATURDAY)]
    write(places, "user_sequences", sequences)
    logs = [{"user_id": user, "log_id": n, "event_date": FRIDAY} for n, user in enumerate(USERS)]
    write(places, "browsing_logs", [*logs, {"user_id": "1467", "event_date": SATURDAY}])
    write(places, "sessions", [{"user_id": user} for user in USERS])
