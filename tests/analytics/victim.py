"""A process that commits to lane 0 and writes Parquet files as often as it can, until it is killed."""

import asyncio
import sys
from pathlib import Path

from tests.analytics.scenes import live_through, small_sink
from tests.support.lanes import Installation


async def main(dsn: str, folder: Path) -> None:
    harness = await Installation(dsn).lane()
    sink = small_sink(harness, folder, rows_max=5)
    async with harness.following(sink):
        while True:
            await live_through(harness, 20, days=2)
            print(harness.lane.position, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
