"""A lake that the explorer opens: three models, two of one space, and titles that mean harm."""

import json
from datetime import date, timedelta

import numpy as np
import small_model
from small_lake import embedding, publish, views, write

from contracts.vectors import own_space

DAY = date(2026, 1, 6)
BEFORE = DAY - timedelta(days=1)
USERS = [f"user {n:02}" for n in range(80)] + ["=1+1", "<b>bold</b>"]
HOSTILE = '<img src=x onerror="document.title=1"> & <b>shoes</b>'
TITLES = {11: HOSTILE.lower(), 22: "green tea", 33: "tea"}


def write_root(places):
    """Half of the users view shoes and lie to the left, the others tea, to the right."""
    small_model.save(places, "m1")
    rng = np.random.default_rng(0)
    sides = np.where(np.arange(len(USERS)) % 2, 1.0, -1.0)
    places_of = np.column_stack([sides, rng.normal(size=(len(USERS), 3)) / 4])
    for day in (BEFORE, DAY):
        rows = zip(USERS, (places_of + 0.1 * (day == DAY)).tolist(), strict=True)
        publish(places, [embedding(user, day, [*vector, 1], "m1") for user, vector in rows])
    for model, day in (("m2", DAY), ("m3", BEFORE), ("m3", DAY)):  # turned by a right angle
        moved = places_of + 0.1 * (day == DAY)
        rows = zip(USERS, moved[:, [1, 0, 2, 3]].tolist(), strict=True)
        turned = [embedding(user, day, [*vector, 1], model) for user, vector in rows]
        write(places, "user_embeddings", turned)
    spaces = {"m1": "m1", "m2": "m2", "m3": "m1"}
    registered = [
        {"model_id": m, "status": "candidate", "settings": "{}", "measures": "{}"}
        | {"space_id": own_space(founder), "path": "gone"}
        for m, founder in spaces.items()
    ]
    write(places, "models", registered)
    titles = [{"title_id": n, "title": t, "words": t.split()} for n, t in TITLES.items()]
    write(places, "titles", titles)
    viewed = [(22, 33) if n % 2 else (11, 33) for n in range(len(USERS))]
    sequences = [
        views(user, day, *ids)
        for user, ids in zip(USERS, viewed, strict=True)
        for day in (BEFORE, DAY)
    ]
    write(places, "user_sequences", sequences)
    logs = [
        {"user_id": user, "log_id": n, "event_date": BEFORE, "title_id": ids[0]}
        | {"title": HOSTILE if ids[0] == 11 else "Green Tea"}
        for n, (user, ids) in enumerate(zip(USERS, viewed, strict=True))
    ]
    write(places, "browsing_logs", logs)
    places.labels.mkdir()
    lines = [f"{user},{'left' if n % 2 else 'right'}" for n, user in enumerate(USERS[:30])]
    (places.labels / "side.csv").write_text("\n".join(["user_id,value", *lines]) + "\n")
    settings = {"kind": "classes", "is_static": True, "doc": "the side"}
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    (places.labels / "side.toml").write_text(text + "\n")
