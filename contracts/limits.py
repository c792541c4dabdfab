"""The numbers that several parts must agree on, each with where it comes from."""

from datetime import timedelta

MAX_TITLE_WORDS = 30  # words of a title that are kept (paper, A.2)
MAX_VIEWS = 100  # views of a sequence (paper, A.2: "at most 100 behaviors of each user")
# The newest views of a user's history that a night keeps. A model of the window form reads the last
# MAX_VIEWS of them, one of the memory form all. Three of the demo's 2,393 users have more.
MAX_HISTORY_VIEWS = 2_048
# A silence that is longer than this ends a session; one that is exactly as long does not. Jobs,
# gates, audit, generated logs and table descriptions all derive theirs from this line.
SESSION_GAP_MINUTES = 30
SESSION_GAP = timedelta(minutes=SESSION_GAP_MINUTES)
EMBEDDING_WIDTH = 256  # floats of a user's vector (paper, Table 4: hidden dimension)
PRETRAINING_DAYS = 181  # the paper's six months of logs (2017-01-01 to 2017-06-30 are 181 days)
# More views than this of one user in one UTC day are a machine's, and are set aside: a page every
# ten seconds for fourteen hours. The paper's users have 126 views in six months.
MAX_VIEWS_A_DAY = 5_000
