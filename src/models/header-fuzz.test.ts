/**
 * Headers that lie: 10 000 damaged safetensors files and 10 000 damaged GGUF files. Each is read, or refused by an error that
 * names the file and an offset; in neither case is more asked for than twice the size of the file. Seeded, so a failure
 * repeats: its message has the number of the case. Takes 3 s of one core.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { goldenFolder } from '../../test/support/golden-model.ts';
import { createRng } from '../core/rng.ts';

const CASES = 10_000;

/** Bytes that one call asked for, by the lengths given to constructors of buffers and arrays. */
const asked = { bytes: 0, most: 0 };
const BUFFERS = [
  ...[
    'ArrayBuffer',
    'SharedArrayBuffer',
    'Uint8Array',
    'Int8Array',
    'Uint16Array',
    'Int16Array',
    'Uint32Array',
  ],
  ...['Int32Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array', 'Array'],
] as const;

/** Stands in for a constructor and adds up what is asked of it; an absurd size is not tried. */
function counted<T extends abstract new (...args: never[]) => object>(type: T): T {
  return new Proxy(type, {
    construct(target, args: unknown[], newTarget) {
      const width =
        (target as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ??
        ((target as unknown) === Array ? 8 : 1);
      if (typeof args[0] === 'number') {
        asked.bytes += args[0] * width;
        asked.most = Math.max(asked.most, args[0] * width);
        if (args[0] * width > 1 << 28) throw new Error(`asked for ${args[0] * width} bytes`);
      }
      return Reflect.construct(target as never, args, newTarget === proxyOf.get(target) ? target : newTarget);
    },
  });
}
const proxyOf = new Map<unknown, unknown>();

let folder: string;
let readHeader: typeof import('./safetensors-header.ts').readHeader;
let readModel: typeof import('./checkpoint.ts').readModel;
let readGguf: typeof import('./gguf.ts').readGguf;
let CheckpointError: typeof import('../core/errors.ts').CheckpointError;
let ConfigError: typeof import('../core/errors.ts').ConfigError;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'heed-fuzz-'));
  vi.resetModules();
  for (const name of BUFFERS) {
    const type = (globalThis as unknown as Record<string, abstract new () => object>)[name]!;
    const proxy = counted(type);
    proxyOf.set(type, proxy);
    vi.stubGlobal(name, proxy);
  }
  ({ readHeader } = await import('./safetensors-header.ts'));
  ({ readModel } = await import('./checkpoint.ts'));
  ({ readGguf } = await import('./gguf.ts'));
  ({ CheckpointError, ConfigError } = await import('../core/errors.ts'));
});
afterAll(() => {
  vi.unstubAllGlobals();
  rmSync(folder, { recursive: true });
});

/** The next number in [0, 1) of a stream. */
type Draw = () => number;
function drawFrom(name: string): Draw {
  const rng = createRng(1).split(name);
  let count = 0;
  return () => rng.uniform(count++);
}
const pick = <T>(draw: Draw, list: readonly T[]): T => list[Math.floor(draw() * list.length)]!;
const below = (draw: Draw, limit: number): number => Math.floor(draw() * limit);

const HUGE = [
  0n,
  1n,
  0xffn,
  0xffffn,
  0x7fffffffn,
  0xffffffffn,
  1n << 40n,
  (1n << 53n) - 1n,
  1n << 62n,
  (1n << 64n) - 1n,
];

/** One to four changes in the first `header` bytes: what a broken disk, a broken writer or an attacker might leave. */
function damage(original: Buffer, header: number, draw: Draw): Buffer {
  let bytes = Buffer.from(original);
  for (let change = 1 + below(draw, 4); change > 0; change--) {
    const at = below(draw, Math.min(header, bytes.length));
    switch (below(draw, 7)) {
      case 0:
        bytes[at] = below(draw, 256);
        break;
      case 1:
        bytes[at] = bytes[at]! ^ (1 << below(draw, 8));
        break;
      case 2:
        if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(pick(draw, HUGE), at);
        break;
      case 3:
        if (at + 4 <= bytes.length) bytes.writeUInt32LE(Number(pick(draw, HUGE) & 0xffffffffn), at);
        break;
      case 4:
        bytes = bytes.subarray(0, at);
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(draw, 16))]);
        break;
      default: {
        const piece = bytes.subarray(at, at + 1 + below(draw, 40));
        bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
      }
    }
    if (bytes.length === 0) break;
  }
  return bytes;
}

/** Numbers and words of a JSON header changed, so that it stays JSON and says something else. */
function rewrite(original: Buffer, draw: Draw): Buffer {
  const length = Number(original.readBigUInt64LE(0));
  const text = original.subarray(8, 8 + length).toString();
  const numbers = [...text.matchAll(/\d+/g)];
  const { index, 0: found } = pick(draw, numbers);
  const other = pick(draw, [
    '0',
    '-1',
    '1.5',
    '1e308',
    '9007199254740993',
    '4294967296',
    'null',
    '"x"',
    '[[]]',
    '{}',
    String(below(draw, 99)),
  ]);
  const changed = Buffer.from(text.slice(0, index) + other + text.slice(index + found.length));
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(changed.length));
  return Buffer.concat([head, changed, original.subarray(8 + length)]);
}

interface Tally {
  read: number;
  refused: number;
}

/** Reads a damaged file and checks what becomes of it. */
function probe(
  file: string,
  bytes: Buffer,
  name: string,
  read: (file: string) => unknown,
  tally: Tally,
): void {
  writeFileSync(file, bytes);
  Object.assign(asked, { bytes: 0, most: 0 });
  try {
    read(file);
    tally.read++;
  } catch (error) {
    tally.refused++;
    if (!(error instanceof CheckpointError || error instanceof ConfigError))
      throw new Error(`${name}: ${error}`, { cause: error });
    const { message } = error;
    if (!message.includes(file)) throw new Error(`${name} names no file: ${message}`);
    const named =
      /offset \d+|general\.architecture|config\.json|tensors of the architecture|tensor "|[\w.]+: /.test(
        message,
      );
    if (!named) throw new Error(`${name} names no place: ${message}`);
  }
  // A model's tensors are turned over one after another: there the largest request counts, not the sum.
  const got = read === readModel ? asked.most : asked.bytes;
  if (got > 2 * bytes.length + 4096)
    throw new Error(`${name} asked for ${got} bytes; the file has ${bytes.length}`);
}

describe('damaged headers', () => {
  it('of safetensors are read or refused', () => {
    const draw = drawFrom('safetensors');
    const tally = { read: 0, refused: 0 };
    const originals = ['llama-plain', 'gpt2-plain', 'gemma2-capped'].map((name) =>
      readFileSync(join(goldenFolder(name), 'model.safetensors')),
    );
    const file = join(folder, 'model.safetensors');
    for (let number = 0; number < CASES; number++) {
      const original = pick(draw, originals);
      const header = 8 + Number(original.readBigUInt64LE(0));
      const bytes = number % 2 === 0 ? damage(original, header, draw) : rewrite(original, draw);
      probe(file, bytes, `case ${number}`, readHeader, tally);
    }
    // Most damage shows; some hits a name or a space and does not.
    expect(tally.refused).toBeGreaterThan(CASES / 2);
    expect(tally.read + tally.refused).toBe(CASES);
    expect(tally.read).toBeGreaterThan(10);
  }, 60_000);

  it('of GGUF are read or refused, as headers and as models', () => {
    const draw = drawFrom('gguf');
    const tally = { read: 0, refused: 0 };
    const originals = ['llama', 'qwen3', 'gemma3', 'gpt2', 'tokenizer-spm', 'tokenizer-llama-bpe'].map(
      (name) => {
        const file = join(goldenFolder('gguf'), `${name}.gguf`);
        const starts = [...readGguf(file).tensors.values()].map(({ start }) => start);
        const bytes = readFileSync(file);
        return { bytes, header: Math.min(bytes.length, ...starts), isModel: starts.length > 0 };
      },
    );
    const file = join(folder, 'model.gguf');
    for (let number = 0; number < CASES; number++) {
      const { bytes, header, isModel } = pick(draw, originals);
      // A model reads its numbers too: float32 of the file's float32, and what checks and tables need.
      const read = isModel && number % 4 === 0 ? readModel : readGguf;
      probe(file, damage(bytes, header, draw), `case ${number}`, read, tally);
    }
    expect(tally.refused).toBeGreaterThan(CASES / 2);
    expect(tally.read + tally.refused).toBe(CASES);
    expect(tally.read).toBeGreaterThan(10);
  }, 60_000);
});
