"""Look at users in a browser: their map, who is near whom and why, cohorts, days, two models.

userbert explore [--data FOLDER] [--port 8050] [--no-browser]

The page is served on this machine alone, at an address with a random token: whoever has the address
can read every user's titles. It reads the lake as it is now and writes nothing but the copy of the
vectors below neighbours/; start it again to see newer days. End it with Ctrl-C.
"""

import logging
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from dash import Dash

from contracts.paths import Places
from contracts.terminal.printing import print_parts
from explorer.day_reader import DayReader
from explorer.guarded_server import Door, bind_server, guard_server
from explorer.page_callbacks import add_callbacks, say_error
from explorer.page_layout import PAGE_TEMPLATE, empty_page


def make_app(reader: DayReader, door: Door) -> Dash:
    """The page of one lake, behind one door."""
    app = Dash(
        "explorer",
        assets_folder=str(Path(__file__).with_name("assets")),
        url_base_pathname=door.prefix,
        serve_locally=True,
        suppress_callback_exceptions=True,  # the page comes after its address was read
        title="Users",
        update_title="",
        index_string=PAGE_TEMPLATE,
        on_error=say_error,
        add_log_handler=False,
    )
    app.layout = empty_page()
    add_callbacks(app, reader)
    guard_server(app.server, door)
    return app


def main(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FOLDER", help="The data root. [default: USERBERT_DATA, or ./data]"
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> None:
    places = Places(data.absolute()) if data else Places.from_environment()
    logging.getLogger("explorer").setLevel(logging.ERROR)
    door, reader = Door(), DayReader(places)
    server = bind_server(make_app(reader, door).server, port)
    print_parts(f"the page is at {door.address(server.port)} (Ctrl-C ends it)")
    if browser:
        webbrowser.open(door.address(server.port))
    try:
        server.serve_forever()
    finally:
        server.server_close()
