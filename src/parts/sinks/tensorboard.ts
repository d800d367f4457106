/** TensorBoard event files: one `Event` of scalars per record, in TFRecord frames. */
import { appendFileSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type Sink, type SinkContext, splitRecord } from './sink.ts';

/**
 * Writes `<folder>/tensorboard/events.out.tfevents.<seconds>.<host>.<pid>`. A resumed run adds a file; TensorBoard shows both
 * as one run, and of steps that were done twice the later.
 */
export function tensorboardSink({ folder, now }: Pick<SinkContext, 'folder' | 'now'>): Sink {
  const path = join(
    folder,
    'tensorboard',
    `events.out.tfevents.${Math.floor(now() / 1000)}.${hostname()}.${process.pid}`,
  );
  mkdirSync(join(folder, 'tensorboard'), { recursive: true });
  const append = (event: Uint8Array): void => appendFileSync(path, frame(event));
  append(encodeEvent({ seconds: now() / 1000, version: 'brain.Event:2' }));
  return {
    log(record) {
      const { step, values } = splitRecord(record);
      append(encodeEvent({ seconds: now() / 1000, step, values }));
    },
    async close() {},
  };
}

interface EventRecord {
  readonly seconds: number;
  readonly step?: number;
  /** Only in the first event of a file. */
  readonly version?: string;
  readonly values?: readonly (readonly [string, number])[];
}

/**
 * Bytes of a `tensorflow.Event`: wall_time = 1, step = 2, file_version = 3, summary = 5 with value = 1 (tag = 1,
 * simple_value = 2).
 * @source tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto
 */
export function encodeEvent({ seconds, step = 0, version, values = [] }: EventRecord): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Bit64).double(seconds);
  if (step !== 0) writer.tag(2, WireType.Varint).int64(step);
  if (version !== undefined) writer.tag(3, WireType.LengthDelimited).string(version);
  if (values.length > 0) {
    writer.tag(5, WireType.LengthDelimited).fork();
    for (const [tag, value] of values) {
      writer.tag(1, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.LengthDelimited).string(tag);
      writer.tag(2, WireType.Bit32).float(value);
      writer.join();
    }
    writer.join();
  }
  return writer.finish();
}

/**
 * A TFRecord: length as uint64, its masked checksum, the data, its masked checksum; all little-endian.
 * @source tensorflow/core/lib/io/record_writer.cc
 */
export function frame(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(data.length + 16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedChecksum(bytes.subarray(0, 8)), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, maskedChecksum(data), true);
  return bytes;
}

/** CRC-32C by byte: the reflected polynomial 0x82f63b78. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32C (Castagnoli). @example crc32c(new TextEncoder().encode('123456789')) // 0xe3069283 */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (table[(crc ^ byte) & 0xff]! ^ (crc >>> 8)) >>> 0;
  return (crc ^ 0xffffffff) >>> 0;
}

/** Rotated and shifted, so that a checksum of data with checksums in it is no weaker. */
function maskedChecksum(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
