-- sequence_pairs' rule (spark_jobs/tables/sessions.py, spark_jobs/tables/sequence_pairs.py) in DuckDB's SQL, as a
-- user of one machine would write it. $views is a list of Parquet files of browsing_logs.
WITH views AS (
    SELECT user_id, event_time, log_id, title_id FROM read_parquet($views, hive_partitioning = false)
    QUALIFY count(*) OVER (PARTITION BY user_id, event_time::DATE) <= 5000
), numbered AS (
    SELECT *, row_number() OVER w - 1 AS pos,
        coalesce(event_time - lag(event_time) OVER w > INTERVAL 30 MINUTE, true) AS opens
    FROM views WINDOW w AS (PARTITION BY user_id ORDER BY event_time, log_id)
), users AS (
    SELECT user_id, count(*) AS num, list(title_id ORDER BY pos) AS titles,
        list(event_time ORDER BY pos) AS times, list(pos ORDER BY pos) FILTER (opens) AS opening
    FROM numbered GROUP BY user_id HAVING count_if(opens) > 1
), aims AS (
    SELECT user_id, num, opening, greatest(2, ceil(num / 100)::BIGINT) AS n,
        unnest(range(1, greatest(2, ceil(num / 100)::BIGINT))) AS k
    FROM users
), around AS (
    SELECT *, least(greatest(len(list_filter(opening, lambda o: o <= (k * num) // n)), 2),
        len(opening)) AS before FROM aims
), cuts AS (
    SELECT user_id, CASE WHEN abs(k * num - n * opening[least(before + 1, len(opening))])
        < abs(k * num - n * opening[before])
        THEN opening[least(before + 1, len(opening))] ELSE opening[before] END AS low
    FROM around UNION SELECT user_id, 0 FROM users
), runs AS (
    SELECT cuts.user_id, low, lead(low, 1, num) OVER (PARTITION BY cuts.user_id ORDER BY low) AS high,
        opening, titles, times FROM cuts JOIN users USING (user_id)
), fitted AS (
    SELECT user_id, high, titles, times, greatest(low, CASE
        WHEN list_filter(opening, lambda o: o >= high - 100)[1] < high
        THEN list_filter(opening, lambda o: o >= high - 100)[1] ELSE high - 100 END) AS low
    FROM runs
), sequences AS (
    SELECT user_id, high, titles[low + 1:high] AS titles, times[low + 1:high] AS times FROM fitted
)
SELECT user_id, (row_number() OVER w - 1)::INTEGER AS pair_id, titles AS a_title_ids,
    times AS a_event_times, lead(titles) OVER w AS b_title_ids, lead(times) OVER w AS b_event_times
FROM sequences WINDOW w AS (PARTITION BY user_id ORDER BY high)
QUALIFY lead(high) OVER w IS NOT NULL
