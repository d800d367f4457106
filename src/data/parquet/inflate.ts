/** Decompression of Parquet pages that allocates only what the compressed bytes prove. */
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { decompress as decompressZstd } from 'fzstd';
import { compressors } from 'hyparquet-compressors';
import { FileClaimError } from './thrift.ts';

/**
 * A page's bytes, of exactly `size` bytes. The size that the page header claims is compared with what the compressed bytes
 * can give before memory of that size is asked for: by walking their elements (Snappy, LZ4: exact; Zstandard: to a block of
 * 128 KiB), or by inflating piece by piece up to the claim (gzip, Brotli).
 *
 * @throws FileClaimError, with the offset 0, for a codec that is not read, damaged bytes, or another size
 */
export function inflatePage(codec: string, bytes: Uint8Array, size: number): Uint8Array {
  if (codec === 'UNCOMPRESSED') return expectSize(bytes, size);
  if (size === 0 && bytes.length === 0) return bytes;
  switch (codec) {
    case 'SNAPPY': {
      proves(snappySize(bytes), size);
      return expectSize(compressors.SNAPPY!(bytes, size), size);
    }
    case 'GZIP':
      return expectSize(gunzipSync(bytes, { maxOutputLength: Math.max(1, size) }), size);
    case 'BROTLI':
      return expectSize(brotliDecompressSync(bytes, { maxOutputLength: Math.max(1, size) }), size);
    case 'ZSTD':
      if (size > zstdBound(bytes)) proves(zstdBound(bytes), size);
      // With a buffer of its own the decompressor allocates no window, whatever the frame claims.
      return expectSize(decompressZstd(bytes, new Uint8Array(size)), size);
    case 'LZ4_RAW': {
      proves(lz4Size(bytes), size);
      // A block of no bytes is one empty token, which the decompressor does not take.
      if (size === 0) return new Uint8Array(0);
      return expectSize(compressors.LZ4_RAW!(bytes, size), size);
    }
    default:
      throw new FileClaimError(
        0,
        `the compression ${codec}, which is none of Snappy, gzip, Brotli, Zstandard, LZ4_RAW`,
      );
  }
}

function expectSize(bytes: Uint8Array, size: number): Uint8Array {
  proves(bytes.length, size);
  // zlib gives Buffers, whose slices are views instead of copies.
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function proves(found: number, claimed: number): void {
  if (found !== claimed) {
    throw new FileClaimError(0, `a page of ${claimed} bytes whose data has ${found}`);
  }
}

/** By the first byte of an element of Snappy: bytes it writes and bytes behind it. Literals longer than 60 are apart. */
const snappyWrites = Uint8Array.from({ length: 256 }, (_, tag) =>
  (tag & 3) === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1,
);
const snappyBehind = Uint8Array.from({ length: 256 }, (_, tag) => [(tag >> 2) + 1, 1, 2, 4][tag & 3]!);
const LONG_LITERAL = 60 << 2;

/** Bytes that a Snappy block writes; -1 when its elements do not end with it. @source google/snappy, `format_description.txt` */
function snappySize(bytes: Uint8Array): number {
  let at = 0;
  while (at < 5 && (bytes[at] ?? 0) >= 0x80) at++;
  at++;
  let size = 0;
  while (at < bytes.length) {
    const tag = bytes[at++]!;
    if (tag >= LONG_LITERAL && (tag & 3) === 0) {
      const width = (tag >> 2) - 59;
      const length = littleEndian(bytes, at, width) + 1;
      at += width + length;
      size += length;
    } else {
      at += snappyBehind[tag]!;
      size += snappyWrites[tag]!;
    }
  }
  return at === bytes.length ? size : -1;
}

/** Bytes that an LZ4 block writes. @source lz4/lz4, `doc/lz4_Block_format.md` */
function lz4Size(bytes: Uint8Array): number {
  let at = 0;
  let size = 0;
  const extended = (start: number): number => {
    let length = start;
    if (start < 15) return length;
    for (;;) {
      const next = bytes[at++];
      if (next === undefined) return Number.POSITIVE_INFINITY;
      length += next;
      if (next < 255) return length;
    }
  };
  while (at < bytes.length) {
    const token = bytes[at++]!;
    const literals = extended(token >> 4);
    at += literals;
    size += literals;
    if (at >= bytes.length) break;
    at += 2;
    size += extended(token & 15) + 4;
  }
  return at === bytes.length ? size : -1;
}

const ZSTD_BLOCK = 128 * 1024;

/** The most bytes that Zstandard frames can write. @source RFC 8878, sections 3.1.1.1 and 3.1.1.2 */
function zstdBound(bytes: Uint8Array): number {
  let at = 0;
  let bound = 0;
  while (at + 4 <= bytes.length) {
    const magic = littleEndian(bytes, at, 4);
    if (magic >= 0x184d2a50 && magic <= 0x184d2a5f) {
      at += 8 + littleEndian(bytes, at + 4, 4);
      continue;
    }
    if (magic !== 0xfd2fb528) return bound;
    const flags = bytes[at + 4]!;
    const single = (flags >> 5) & 1;
    const sizeBytes = flags >> 6 === 0 ? single : 1 << (flags >> 6);
    at += 5 + (1 - single) + [0, 1, 2, 4][flags & 3]! + sizeBytes;
    for (let last = false; !last && at + 3 <= bytes.length; ) {
      const head = littleEndian(bytes, at, 3);
      last = (head & 1) === 1;
      const size = head >>> 3;
      const kind = (head >> 1) & 3;
      bound += Math.min(kind === 2 ? ZSTD_BLOCK : size, ZSTD_BLOCK);
      at += 3 + (kind === 1 ? 1 : size);
    }
    if ((flags & 4) !== 0) at += 4;
  }
  return bound;
}

function littleEndian(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let index = width - 1; index >= 0; index--) value = 256 * value + (bytes[at + index] ?? 0);
  return value;
}
