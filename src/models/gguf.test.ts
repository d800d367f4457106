/** GGUF files: blocks against the reference library, headers that lie, models and vocabularies (test/golden/gguf.test.ts). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CheckpointError } from '../core/errors.ts';
import { readGguf, readGgufTensor } from './gguf.ts';
import { readGgufModel } from './gguf-model.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'heed-gguf-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Appends to a file under construction, little endian. */
class Bytes {
  readonly #parts: Buffer[] = [];
  get length(): number {
    return this.#parts.reduce((total, part) => total + part.length, 0);
  }
  u32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    this.#parts.push(part);
    return this;
  }
  u64(value: bigint | number): this {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt(value));
    this.#parts.push(part);
    return this;
  }
  raw(part: Uint8Array): this {
    this.#parts.push(Buffer.from(part));
    return this;
  }
  text(value: string): this {
    return this.u64(Buffer.byteLength(value)).raw(Buffer.from(value));
  }
  pad(multiple: number): this {
    return this.raw(new Uint8Array((multiple - (this.length % multiple)) % multiple));
  }
  save(name: string): string {
    const file = join(folder, name);
    writeFileSync(file, Buffer.concat(this.#parts));
    return file;
  }
}

const start = (tensors: number | bigint, entries: number | bigint, version = 3): Bytes =>
  new Bytes().raw(Buffer.from('GGUF')).u32(version).u64(tensors).u64(entries);

/** One F32 tensor of two numbers. */
const small = (): Bytes =>
  start(1, 0)
    .text('a')
    .u32(1)
    .u64(2)
    .u32(0)
    .u64(0)
    .pad(32)
    .raw(new Uint8Array(Float32Array.of(1, -2).buffer));

const errorOf = (file: string): CheckpointError => {
  try {
    readGguf(file);
  } catch (error) {
    return error as CheckpointError;
  }
  throw new Error(`${file} was read`);
};

describe('readGguf', () => {
  it('reads every kind of metadata and the places of tensors', () => {
    const file = start(2, 14)
      .text('u8')
      .u32(0)
      .raw(Uint8Array.of(200))
      .text('i8')
      .u32(1)
      .raw(Uint8Array.of(200))
      .text('u16')
      .u32(2)
      .raw(Uint8Array.of(1, 128))
      .text('i16')
      .u32(3)
      .raw(Uint8Array.of(1, 128))
      .text('u32')
      .u32(4)
      .u32(4_000_000_000)
      .text('i32')
      .u32(5)
      .u32(4_294_967_295)
      .text('f32')
      .u32(6)
      .raw(new Uint8Array(Float32Array.of(0.1).buffer))
      .text('yes')
      .u32(7)
      .raw(Uint8Array.of(1))
      .text('text')
      .u32(8)
      .text('größe')
      .text('words')
      .u32(9)
      .u32(8)
      .u64(2)
      .text('a')
      .text('')
      .text('numbers')
      .u32(9)
      .u32(5)
      .u64(2)
      .u32(7)
      .u32(4_294_967_295)
      .text('nested')
      .u32(9)
      .u32(9)
      .u64(1)
      .u32(7)
      .u64(2)
      .raw(Uint8Array.of(1, 0))
      .text('u64')
      .u32(10)
      .u64(2n ** 40n)
      .text('f64')
      .u32(12)
      .raw(new Uint8Array(Float64Array.of(0.1).buffer))
      .text('matrix')
      .u32(2)
      .u64(3)
      .u64(2)
      .u32(0)
      .u64(0)
      .text('scalar')
      .u32(0)
      .u32(0)
      .u64(32)
      .pad(32)
      .raw(new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6, 0, 0, 9).buffer))
      .save('kinds.gguf');
    const { version, metadata, tensors } = readGguf(file);
    expect(version).toBe(3);
    expect([...metadata]).toEqual([
      ['u8', 200],
      ['i8', -56],
      ['u16', 32769],
      ['i16', -32767],
      ['u32', 4_000_000_000],
      ['i32', -1],
      ['f32', Math.fround(0.1)],
      ['yes', true],
      ['text', 'größe'],
      ['words', ['a', '']],
      ['numbers', Int32Array.of(7, -1)],
      ['nested', [Uint8Array.of(1, 0)]],
      ['u64', 2 ** 40],
      ['f64', 0.1],
    ]);
    // The file names the fastest dimension first.
    expect(tensors.get('matrix')!.shape).toEqual([2, 3]);
    const matrix = new Float32Array(6);
    readGgufTensor(tensors.get('matrix')!, matrix);
    expect([...matrix]).toEqual([1, 2, 3, 4, 5, 6]);
    const scalar = new Float32Array(1);
    readGgufTensor(tensors.get('scalar')!, scalar);
    expect([...scalar]).toEqual([9]);
  });

  it('reads version 2', () => {
    const bytes = readFileSync(small().save('small.gguf'));
    bytes.writeUInt32LE(2, 4);
    writeFileSync(join(folder, 'two.gguf'), bytes);
    expect(readGguf(join(folder, 'two.gguf')).version).toBe(2);
  });

  it.each<[string, () => Bytes, RegExp]>([
    [
      'another file',
      () => new Bytes().text('{"model": 1, "and": "more"}'),
      /offset 0\): expected the letters GGUF/,
    ],
    [
      'a stub',
      () => new Bytes().raw(Buffer.from('GGUF')),
      /expected at least 24 bytes, received a file of 4/,
    ],
    ['version 1', () => start(0, 0, 1), /offset 4\): expected GGUF version 2 or 3.*received version 1/],
    ['another byte order', () => start(0, 0, 0x03000000), /received a big-endian file/],
    ['more tensors than bytes', () => start(2n ** 60n, 0), /expected a number below 2\^53/],
    ['many tensors', () => start(1e9, 0), /offset 8\): expected 0 tensors at most in the rest of the file/],
    ['many entries', () => start(0, 1e9), /offset 16\): expected 0 metadata entries at most/],
    ['a long text', () => start(0, 1).text('k').u32(8).u64(1e12).text('x'), /expected 9 bytes at most/],
    ['a long list', () => start(0, 1).text('k').u32(9).u32(4).u64(1e9).u32(1), /expected 1 elements at most/],
    [
      'a list of lists without end',
      () =>
        [0, 0, 0, 0, 0]
          .reduce((all) => all.u32(9).u64(1), start(0, 1).text('k').u32(9))
          .u32(0)
          .u64(0),
      /lists nested 4 deep/,
    ],
    [
      'an unknown value type',
      () => start(0, 1).text('k').u32(99).u64(0),
      /offset 33\): expected a value type of 0 to 12, received 99/,
    ],
    ['a key twice', () => start(0, 2).text('k').u32(4).u32(1).text('k').u32(4).u32(1), /"k" twice/],
    [
      'a tensor twice',
      () =>
        start(2, 0)
          .text('a')
          .u32(0)
          .u32(0)
          .u64(0)
          .text('a')
          .u32(0)
          .u32(0)
          .u64(32)
          .pad(32)
          .raw(new Uint8Array(64)),
      /"a" twice/,
    ],
    [
      'an unknown tensor type',
      () => start(1, 0).text('a').u32(1).u64(256).u32(23).u64(0).pad(32).raw(new Uint8Array(256)),
      /tensor "a", offset 24\).*received IQ4_XS/,
    ],
    [
      'half a block',
      () => start(1, 0).text('a').u32(1).u64(16).u32(2).u64(0).pad(32).raw(new Uint8Array(64)),
      /tensor "a" with rows of whole Q4_0 blocks, received \[16\]/,
    ],
    [
      'a huge tensor',
      () =>
        start(1, 0)
          .text('a')
          .u32(2)
          .u64(2 ** 40)
          .u64(2 ** 40)
          .u32(0)
          .u64(0)
          .pad(32),
      /tensor "a"/,
    ],
    [
      'a tensor beyond the end',
      () => start(1, 0).text('a').u32(1).u64(9).u32(0).u64(0).pad(32).raw(new Uint8Array(32)),
      /tensor "a" within the file of 96 bytes, received bytes 64 to 100/,
    ],
    [
      'a crooked offset',
      () => start(1, 0).text('a').u32(0).u32(0).u64(4).pad(32).raw(new Uint8Array(32)),
      /at a multiple of 32 bytes, received offset 4/,
    ],
    [
      'shared bytes',
      () =>
        start(2, 0)
          .text('a')
          .u32(1)
          .u64(9)
          .u32(0)
          .u64(0)
          .text('b')
          .u32(0)
          .u32(0)
          .u64(32)
          .pad(32)
          .raw(new Uint8Array(64)),
      /"a" and "b", which share bytes/,
    ],
    [
      'a crooked alignment',
      () => start(0, 1).text('general.alignment').u32(4).u32(24),
      /general.alignment, a power of 2, received 24/,
    ],
  ])('refuses %s', (name, build, message) => {
    const file = build().save(`${name}.gguf`);
    const error = errorOf(file);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(message);
    expect(error.message).toContain(file);
  });

  it('refuses a file that is cut anywhere', () => {
    const whole = readFileSync(small().save('whole.gguf'));
    for (let length = 0; length < whole.length; length++) {
      const file = join(folder, 'cut.gguf');
      writeFileSync(file, whole.subarray(0, length));
      expect(errorOf(file)).toBeInstanceOf(CheckpointError);
    }
  });

  it('names the architectures it knows', () => {
    const file = start(0, 1).text('general.architecture').u32(8).text('mamba').save('mamba.gguf');
    expect(() => readGgufModel(file)).toThrow(/expected llama, .*, received "mamba"/);
  });
});

describe('blocks', () => {
  const golden = JSON.parse(
    readFileSync(new URL('../../test/golden/data/gguf/blocks.json', import.meta.url), 'utf8'),
  ) as { types: Record<string, { elements: number; bytes: number; blocks: string; values: string }> };
  const numbers: Record<string, number> = {
    ...{
      F32: 0,
      F16: 1,
      Q4_0: 2,
      Q4_1: 3,
      Q5_0: 6,
      Q5_1: 7,
      Q8_0: 8,
      Q4_K: 12,
      Q5_K: 13,
      Q6_K: 14,
      BF16: 30,
    },
  };

  it.each(Object.entries(golden.types))(
    'of %s give the numbers of the reference, to the bit',
    (name, recorded) => {
      const blocks = Buffer.from(recorded.blocks, 'base64');
      const wanted = new Float32Array(new Uint8Array(Buffer.from(recorded.values, 'base64')).buffer);
      expect(wanted.length).toBe((blocks.length / recorded.bytes) * recorded.elements);
      const file = start(1, 0)
        .text('a')
        .u32(1)
        .u64(wanted.length)
        .u32(numbers[name]!)
        .u64(0)
        .pad(32)
        .raw(blocks)
        .save(`${name}.gguf`);
      const read = new Float32Array(wanted.length);
      readGgufTensor(readGguf(file).tensors.get('a')!, read);
      expect(read).toEqual(wanted);
    },
  );

  it('reads a tensor longer than one piece', () => {
    // 1.25 MiB of Q8_0 blocks: scale 1, numbers 0 to 31 plus the block's number modulo 64.
    const count = 40_000;
    const blocks = new Uint8Array(count * 34);
    for (let block = 0; block < count; block++) {
      blocks.set([0x00, 0x3c], block * 34);
      for (let j = 0; j < 32; j++) blocks[block * 34 + 2 + j] = j + (block % 64);
    }
    const file = start(1, 0)
      .text('a')
      .u32(1)
      .u64(count * 32)
      .u32(8)
      .u64(0)
      .pad(32)
      .raw(blocks)
      .save('long.gguf');
    const read = new Float32Array(count * 32);
    readGgufTensor(readGguf(file).tensors.get('a')!, read);
    expect(read.every((value, index) => value === (index % 32) + (Math.floor(index / 32) % 64))).toBe(true);
  });
});
