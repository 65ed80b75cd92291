"""The usual script: a server-side cursor, and helpers.bulk with its defaults."""

import sys

import psycopg
from opensearchpy import OpenSearch, helpers

source, target, table, alias = sys.argv[1:5]


def actions():
    with psycopg.connect(source) as connection, connection.cursor(name="nodes") as cursor:
        cursor.itersize = 1000
        cursor.execute(f"select id, data, timestamp from {table}")
        for identifier, data, timestamp in cursor:
            yield {
                "_index": f"{alias}-{timestamp:%Y-%m-%d}",
                "_id": identifier,
                "_source": {"data": data, "timestamp": timestamp.isoformat()},
            }


client = OpenSearch(target, timeout=300)
if sys.argv[5] == "parallel":
    for done, answer in helpers.parallel_bulk(client, actions(), thread_count=4):
        if not done:
            sys.exit(str(answer)[:200])
else:
    helpers.bulk(client, actions())
client.indices.refresh(index=f"{alias}-*")
client.indices.flush(index=f"{alias}-*")
