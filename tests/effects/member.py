"""A runner in a process of its own, to be killed: `python -m tests.effects.member <kafka, topics, settings as JSON>`."""

import asyncio
import sys

import msgspec

from consumers.effects import EffectRunner, EffectSettings, EffectTopics


class Arguments(msgspec.Struct):
    kafka: dict[str, str]
    topics: EffectTopics
    settings: EffectSettings


async def main(text: str) -> None:
    arguments = msgspec.json.decode(text, type=Arguments)
    runner = EffectRunner(kafka=arguments.kafka, topics=arguments.topics, settings=arguments.settings)
    await runner.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
