"""The private names of aiokafka that we stand on, and what we do with them. An upgrade that moves one fails here."""

from __future__ import annotations

import gzip
import importlib
import struct
import sys
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from agencybus.kafka import internals
from agencybus.kafka.internals import CompressedBatchError, judge_damage

internals.refuse_compressed_batches()


def batch(base: int, *values: bytes, attributes: int = 0) -> bytes:
    """A sound batch as a broker hands it out. A codec in the attributes makes a reader unpack it."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for offset, value in enumerate(values):
        builder.append(offset, 0, None, value, [])
    made = bytearray(builder.build())
    struct.pack_into(">q", made, 0, base)
    struct.pack_into(">h", made, 21, attributes)
    struct.pack_into(">I", made, 17, calc_crc32c(bytes(made[21:])))
    return bytes(made)


def damaged(whole: bytes, at: int = -3) -> bytes:
    made = bytearray(whole)
    made[at] ^= 1
    return bytes(made)


def parsed(fetched: bytes) -> list[bytes]:
    """What aiokafka makes of fetched bytes."""
    records: Any = MemoryRecords(fetched)
    values = []
    while records.has_next():
        one = records.next_batch()
        assert one.validate_crc()
        values += [record.value for record in one]
    return values


# --- refusing to unpack


def test_the_extensions_are_in_use_so_the_names_that_count_are_theirs() -> None:
    assert MemoryRecords.__module__.startswith("aiokafka.record._crecords")
    assert "aiokafka.record._crecords.default_records" in sys.modules


def test_every_function_that_unpacks_in_aiokafka_is_replaced() -> None:
    for module_name in internals.DECODERS:
        module = importlib.import_module(module_name)
        found = {name for name in vars(module) if name.endswith("_decode")}
        assert found == set(internals.DECODERS[module_name])
        assert {getattr(module, name) for name in found} == {internals._refuse}


def test_a_compressed_batch_is_refused_before_it_is_unpacked() -> None:
    bomb = gzip.compress(bytes(1 << 20))
    whole = bytearray(batch(0, b"x", attributes=1)[:61]) + bomb
    struct.pack_into(">i", whole, 8, len(whole) - 12)
    struct.pack_into(">I", whole, 17, calc_crc32c(bytes(whole[21:])))
    with pytest.raises(CompressedBatchError):
        parsed(bytes(whole))


def test_an_unpacking_function_that_moved_makes_the_reader_refuse_to_be_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(internals.DECODERS, "aiokafka.record.default_records", ("brotli_decode",))
    with pytest.raises(ImportError, match="brotli_decode is gone"):
        internals.refuse_compressed_batches()


def test_a_batch_that_is_not_compressed_is_read_as_before() -> None:
    assert parsed(batch(0, b"a", b"b") + batch(2, b"c")) == [b"a", b"b", b"c"]


# --- where reading goes on after damage


def test_a_compressed_batch_is_stepped_over_whole() -> None:
    fetched = batch(10, b"a", b"b", b"c", attributes=4) + batch(13, b"d")
    assert judge_damage(fetched, 10) == ("batch-compressed", 13)
    assert judge_damage(fetched, 12) == ("batch-compressed", 13)


@pytest.mark.parametrize("codec", range(1, 8))
def test_every_codec_that_there_may_ever_be_counts_as_compressed(codec: int) -> None:
    assert judge_damage(batch(10, b"a", attributes=codec), 10) == ("batch-compressed", 11)


def test_a_corrupt_batch_ends_where_the_next_sound_one_begins() -> None:
    fetched = damaged(batch(10, b"a", b"b", b"c")) + batch(13, b"d")
    assert judge_damage(fetched, 10) == ("batch-corrupt", 13)
    assert judge_damage(damaged(batch(10, b"a", b"b")) + damaged(batch(12, b"c")) + batch(13, b"d"), 11) == (
        "batch-corrupt",
        13,
    )


def test_a_corrupt_batch_with_nothing_sound_behind_it_costs_one_offset() -> None:
    assert judge_damage(damaged(batch(10, b"a", b"b", b"c")), 10) == ("batch-corrupt", 11)


@pytest.mark.parametrize("field", range(61))
def test_a_damaged_header_never_makes_the_reader_jump_over_sound_records(field: int) -> None:
    for bit in range(8):
        head = bytearray(batch(10, b"a", b"b", b"c"))
        head[field] ^= 1 << bit
        code, after = judge_damage(bytes(head) + batch(13, b"d"), 10)
        assert code == "batch-corrupt"
        assert 11 <= after <= 13


def test_a_sound_batch_that_was_refused_all_the_same_costs_one_offset() -> None:
    assert judge_damage(batch(10, b"a", b"b"), 10) == ("batch-corrupt", 11)


@pytest.mark.parametrize("cut", range(0, 75, 5))
def test_a_cut_answer_costs_one_offset_and_no_crash(cut: int) -> None:
    assert judge_damage(batch(10, b"a", b"b", b"c")[:cut], 10) == ("batch-corrupt", 11)


def test_an_old_offset_in_a_hostile_header_never_sends_the_reader_back() -> None:
    assert judge_damage(batch(3, b"a", attributes=1), 10) == ("batch-compressed", 11)


# --- clients


async def test_the_private_names_of_clients_exist() -> None:
    producer = AIOKafkaProducer(bootstrap_servers="localhost:1", enable_idempotence=True)
    assert producer._closed is False
    assert producer._sender.sender_task is None
    assert producer.client._md_update_fut is None
    consumer = AIOKafkaConsumer(bootstrap_servers="localhost:1")
    assert consumer._fetcher is None
    assert consumer._client.cluster.leader_for_partition is not None
    assert not internals.fetching(consumer)
    fetcher = Fetcher(consumer._client, consumer._subscription)
    assert not fetcher._fetch_task.done()
    assert list(fetcher._records) == []
    waiter = fetcher._create_fetch_waiter()
    assert waiter in fetcher._fetch_waiters
    waiter.cancel()
    await fetcher.close()
    await internals.dispose_producer(producer)
    await internals.dispose_consumer(consumer)


def test_the_refusal_is_what_aiokafka_calls_a_corrupt_record_so_its_own_users_are_not_surprised() -> None:
    assert issubclass(CompressedBatchError, CorruptRecordException)
