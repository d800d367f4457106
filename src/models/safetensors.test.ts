import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { CheckpointError, ShapeError } from '../core/errors.ts';
import { sizeOf } from '../core/shapes.ts';
import {
  readFolderHeader,
  readHeader,
  readTensor,
  type TensorToWrite,
  writeModelWeights,
  writeSafetensors,
} from './safetensors.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'x.safetensors');

/** A file of any header and data. */
function assemble(header: unknown, data: Uint8Array = new Uint8Array(), headerLength?: bigint): void {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, headerLength ?? BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  writeFileSync(file, bytes);
}

function readAll(tensors: ReturnType<typeof readHeader>): Record<string, number[]> {
  const numbers: Record<string, number[]> = {};
  for (const [name, tensor] of tensors) {
    const out = new Float32Array(sizeOf(tensor.shape));
    readTensor(tensor, out);
    numbers[name] = [...out];
  }
  return numbers;
}

describe('readTensor', () => {
  const stored: [string, ArrayBufferView, number[]][] = [
    ['F32', Float32Array.of(1.5, -2, 1e-45), [1.5, -2, Math.fround(1e-45)]],
    ['F64', Float64Array.of(0.1, -3), [Math.fround(0.1), -3]],
    ['F16', Uint16Array.of(0x3c00, 0xc000, 0x0001), [1, -2, 2 ** -24]],
    ['BF16', Uint16Array.of(0x3f80, 0xc040), [1, -3]],
    ['I64', BigInt64Array.of(-5n, 7n), [-5, 7]],
    ['U64', BigUint64Array.of(1n << 40n), [2 ** 40]],
    ['I32', Int32Array.of(-70000, 3), [-70000, 3]],
    ['U32', Uint32Array.of(4_000_000_000), [4_000_000_000]],
    ['I16', Int16Array.of(-300), [-300]],
    ['U16', Uint16Array.of(65535), [65535]],
    ['I8', Int8Array.of(-8, 8), [-8, 8]],
    ['U8', Uint8Array.of(200), [200]],
    ['BOOL', Uint8Array.of(0, 1, 255), [0, 1, 1]],
  ];

  it.each(stored)('reads %s', (dtype, data, expected) => {
    // One byte before it, so that nothing is aligned in the file.
    const bytes = new Uint8Array(1 + data.byteLength);
    bytes.set(new Uint8Array(data.buffer), 1);
    assemble(
      {
        pad: { dtype: 'U8', shape: [], data_offsets: [0, 1] },
        x: { dtype, shape: [expected.length], data_offsets: [1, bytes.length] },
      },
      bytes,
    );
    expect(readAll(readHeader(file)).x).toEqual(expected);
  });

  it('reads into shared memory, and more than one piece', () => {
    const n = (1 << 20) + 3;
    // Whole numbers up to 256 are exact in bfloat16; 251 is prime, so that no piece equals another.
    const data = Float32Array.from({ length: n }, (_, index) => index % 251);
    const out = new Float32Array(new SharedArrayBuffer(4 * n));
    const wrong = (): number => out.findIndex((x, index) => x !== data[index]);
    writeSafetensors(file, [{ name: 'x', shape: [n], data }], { dtype: 'BF16' });
    readTensor(readHeader(file).get('x')!, out);
    expect(wrong()).toBe(-1);
    out.fill(0);
    writeSafetensors(file, [{ name: 'x', shape: [n], data }]);
    readTensor(readHeader(file).get('x')!, out);
    expect(wrong()).toBe(-1);
  });

  it('refuses a target of another size, F8, and a file that was cut after its header was read', () => {
    assemble({ x: { dtype: 'F8_E4M3', shape: [2], data_offsets: [0, 2] } }, new Uint8Array(2));
    const f8 = readHeader(file).get('x')!;
    expect(() => readTensor(f8, new Float32Array(2))).toThrow(/float32, received F8_E4M3/);
    expect(() => readTensor(f8, new Float32Array(3))).toThrow(/expected 3 elements, received 2 elements/);
    writeSafetensors(file, [{ name: 'y', shape: [4], data: new Float32Array(4) }]);
    const tensor = readHeader(file).get('y')!;
    writeFileSync(file, readFileSync(file).subarray(0, -4));
    expect(() => readTensor(tensor, new Float32Array(4))).toThrow(
      /"y".*expected 16 bytes.*the end of the file after 12/,
    );
  });
});

describe('readHeader', () => {
  const x = (changes: object): object => ({
    x: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...changes },
  });
  const y = { dtype: 'F32', shape: [1], data_offsets: [4, 8] };
  const data = new Uint8Array(8);
  const corrupt: [string, unknown, Uint8Array, RegExp, bigint?][] = [
    ['a header that is not JSON', '{"x":', data, /JSON/],
    ['a header that is not UTF-8', '"\ud800', data, /JSON/],
    ['a header that is a list', [], data, /object, received an array/],
    [
      'a header length beyond the file',
      x({}),
      data,
      /header within the file of \d+ bytes, received a header length of 9000/,
      9000n,
    ],
    ['a header length beyond 2^53', x({}), data, /header length of 18446744073709551615/, 2n ** 64n - 1n],
    [
      'an unknown dtype',
      x({ dtype: 'F31' }),
      data,
      /x\.safetensors \(tensor "x", offset 9\): expected a dtype.*received "F31"/,
    ],
    ['a dtype named as a method', x({ dtype: 'toString' }), data, /"x".*dtype/],
    ['no dtype', { x: { shape: [2], data_offsets: [0, 8] } }, data, /"x".*dtype.*received nothing/],
    ['a negative dimension', x({ shape: [-2] }), data, /"x".*shape.*\[-2\]/],
    ['a fractional dimension', x({ shape: [0.5] }), data, /"x".*shape/],
    ['a shape that is no list', x({ shape: 2 }), data, /"x".*shape/],
    ['bytes that do not fit the shape', x({ shape: [3] }), data, /"x".*12 bytes for F32 \[3\], received 8/],
    ['a shape whose product overflows', x({ shape: [2 ** 40, 2 ** 40] }), data, /"x".*bytes for F32/],
    ['offsets beyond the data', x({}), new Uint8Array(7), /"x".*within 7 bytes.*0 to 8/],
    ['offsets that go back', x({ data_offsets: [8, 0] }), data, /"x".*data_offsets/],
    ['offsets that are strings', x({ data_offsets: ['0', '8'] }), data, /"x".*data_offsets/],
    ['tensors that share bytes', { ...x({}), y }, data, /"y".*overlap "x"/],
    [
      'unused bytes between',
      { ...x({ shape: [0], data_offsets: [0, 0] }), y },
      data,
      /"y".*leave a gap after "x"/,
    ],
    ['unused bytes at the end', x({}), new Uint8Array(9), /expected 8 bytes of data, received 9/],
    ['a tensor that is null', { x: null }, data, /"x".*received null/],
    ['metadata that is a list', { __metadata__: [] }, new Uint8Array(), /__metadata__.*an array/],
  ];

  it.each(corrupt)('refuses %s', (_, header, bytes, message, length) => {
    assemble(header, bytes, length);
    expect(() => readHeader(file)).toThrow(CheckpointError);
    expect(() => readHeader(file)).toThrow(message);
    expect(() => readHeader(file)).toThrow(/x\.safetensors/);
  });

  it('refuses a file of 7 bytes, a folder and a missing file', () => {
    writeFileSync(file, new Uint8Array(7));
    expect(() => readHeader(file)).toThrow(/at least 8 bytes, received a file of 7/);
    expect(() => readHeader(folder)).toThrow(CheckpointError);
    expect(() => readHeader(join(folder, 'none'))).toThrow(/no such file/);
  });

  it('either reads a damaged header or says what is wrong, and nothing else', () => {
    const original = { a: { dtype: 'F32', shape: [1], data_offsets: [0, 4] }, b: { ...y } };
    const text = JSON.stringify(original);
    const damage = fc.array(fc.tuple(fc.nat(text.length - 1), fc.integer({ min: 32, max: 126 })), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(damage, (changes) => {
        const bytes = new TextEncoder().encode(text);
        for (const [position, byte] of changes) bytes[position] = byte;
        assemble(new TextDecoder().decode(bytes), data);
        try {
          readAll(readHeader(file));
        } catch (error) {
          expect(error).toBeInstanceOf(CheckpointError);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('keeps names that objects have by themselves', () => {
    assemble('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', Uint8Array.of(9));
    expect([...readHeader(file).keys()]).toEqual(['__proto__']);
    writeSafetensors(file, [{ name: '__proto__', shape: [], data: Float32Array.of(3) }]);
    expect([...readHeader(file).keys()]).toEqual(['__proto__']);
  });
});

describe('writeSafetensors', () => {
  const two: TensorToWrite[] = [
    { name: 'b', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
    { name: 'a', shape: [], data: Float32Array.of(-1) },
  ];

  it('writes length, header padded to 8 bytes, and data in order', () => {
    writeSafetensors(file, two);
    const bytes = readFileSync(file);
    const length = Number(bytes.readBigUInt64LE());
    expect(length % 8).toBe(0);
    expect(JSON.parse(bytes.toString('utf8', 8, 8 + length))).toEqual({
      __metadata__: { format: 'pt' },
      b: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] },
      a: { dtype: 'F32', shape: [], data_offsets: [16, 20] },
    });
    const floats = Array.from({ length: 5 }, (_, index) => bytes.readFloatLE(8 + length + 4 * index));
    expect(floats).toEqual([1, 2, 3, 4, -1]);
    expect(bytes.length).toBe(8 + length + 20);
  });

  it('gives back what was written, bit for bit in F32 and to the nearest in the others', () => {
    const tensor = fc.tuple(
      fc.string(),
      fc.array(fc.nat(4), { maxLength: 3 }),
      fc.infiniteStream(fc.float({ noNaN: true })),
    );
    const tensors = fc.uniqueArray(tensor, { selector: ([name]) => name, maxLength: 5 });
    fc.assert(
      fc.property(tensors, (drawn) => {
        const written = drawn
          .filter(([name]) => name !== '__metadata__')
          .map(([name, shape, numbers]) => ({
            name,
            shape,
            data: Float32Array.from({ length: sizeOf(shape) }, () => numbers.next().value),
          }));
        writeSafetensors(file, written);
        const header = readHeader(file);
        expect([...header.keys()].sort()).toEqual(written.map(({ name }) => name).sort());
        for (const { name, shape, data } of written) {
          expect(header.get(name)!.shape).toEqual(shape);
          const out = new Float32Array(data.length);
          readTensor(header.get(name)!, out);
          expect(Buffer.from(out.buffer)).toEqual(Buffer.from(data.buffer));
        }
      }),
      { numRuns: 50 },
    );
    const thirds = [{ name: 'x', shape: [2], data: Float32Array.of(1 / 3, -1e-3) }];
    // One third is 1.0101010101…₂ · 2^-2: 10 bits after the point end in …01 | 01 (down), 7 bits in …010 | 1 (up).
    writeSafetensors(file, thirds, { dtype: 'F16' });
    expect(readAll(readHeader(file)).x![0]).toBe(1365 / 4096);
    writeSafetensors(file, thirds, { dtype: 'BF16' });
    expect(readAll(readHeader(file)).x![0]).toBe(171 / 512);
  });

  it('refuses a name twice and data that do not fit, and leaves the old file and no other', () => {
    writeSafetensors(file, two);
    const before = readFileSync(file);
    expect(() => writeSafetensors(file, [two[0]!, two[0]!])).toThrow(ShapeError);
    expect(() => writeSafetensors(file, [{ ...two[0]!, shape: [3] }])).toThrow(
      /3 elements for shape \[3\].*4 elements/,
    );
    // Asked once for the header, and once more when half of the file is written.
    let asked = 0;
    const broken = {
      name: 'c',
      shape: [1],
      get data(): Float32Array {
        if (asked++ > 0) throw new Error('the source broke');
        return new Float32Array(1);
      },
    };
    expect(() => writeSafetensors(file, [two[0]!, broken])).toThrow('the source broke');
    expect(readFileSync(file)).toEqual(before);
    expect(readdirSync(folder)).toEqual(['x.safetensors']);
    expect(() => writeSafetensors(join(folder, 'none', 'x'), two)).toThrow(
      /none.*expected a place that can be written/,
    );
  });
});

describe('memory', () => {
  it('needs little besides the weights to write and read them in 16 bits', () => {
    const n = 24 << 20;
    const data = new Float32Array(n);
    for (let index = 0; index < n; index++) data[index] = index % 251;
    const before = process.resourceUsage().maxRSS; // KiB, of this process so far
    writeSafetensors(file, [{ name: 'x', shape: [n], data }], { dtype: 'BF16' });
    data.fill(0);
    readTensor(readHeader(file).get('x')!, data);
    expect(data[n - 1]).toBe((n - 1) % 251);
    const more = 1024 * (process.resourceUsage().maxRSS - before);
    // The bound of 1.3 times the size in float32; a copy of the file alone would be 0.5 times.
    expect(more).toBeLessThan(0.3 * 4 * n);
    rmSync(file);
  });
});

describe('sharded weights', () => {
  const model = mkdtempSync(join(tmpdir(), 'heed-shards-'));
  afterAll(() => rmSync(model, { recursive: true, force: true }));
  const index = join(model, 'model.safetensors.index.json');
  const tensors = ['a', 'b', 'c', 'd'].map((name, i) => ({
    name,
    shape: [2 + i],
    data: Float32Array.from({ length: 2 + i }, (_, j) => 10 * i + j),
  }));

  it('divides between tensors, writes an index and reads it', () => {
    // Bytes 8, 12, 16, 20 with room for 24: a and b together, c alone, d alone.
    expect(writeModelWeights(model, tensors, { maxShardBytes: 24 })).toEqual([
      'model-00001-of-00003.safetensors',
      'model-00002-of-00003.safetensors',
      'model-00003-of-00003.safetensors',
      'model.safetensors.index.json',
    ]);
    expect(JSON.parse(readFileSync(index, 'utf8'))).toEqual({
      metadata: { total_size: 56 },
      weight_map: {
        a: 'model-00001-of-00003.safetensors',
        b: 'model-00001-of-00003.safetensors',
        c: 'model-00002-of-00003.safetensors',
        d: 'model-00003-of-00003.safetensors',
      },
    });
    expect(readAll(readFolderHeader(model))).toEqual(
      Object.fromEntries(tensors.map((t) => [t.name, [...t.data]])),
    );
  });

  it('does not divide what fits, nor one tensor', () => {
    const single = mkdtempSync(join(folder, 'single-'));
    expect(writeModelWeights(single, tensors)).toEqual(['model.safetensors']);
    expect(writeModelWeights(single, [tensors[3]!], { maxShardBytes: 4 })).toEqual(['model.safetensors']);
    rmSync(single, { recursive: true });
  });

  it('refuses an index that does not fit its files or reaches outside the folder', () => {
    const write = (map: unknown): void => writeFileSync(index, JSON.stringify({ weight_map: map }));
    write({ a: 'model-00002-of-00003.safetensors' });
    expect(() => readFolderHeader(model)).toThrow(/tensor "a" in model-00002-of-00003\.safetensors/);
    write({ a: 'model-00009-of-00003.safetensors' });
    expect(() => readFolderHeader(model)).toThrow(/model-00009.*no such file/);
    for (const name of ['../x.safetensors', '/etc/passwd', '..', '', 'a\\b', 3]) {
      write({ a: name });
      expect(() => readFolderHeader(model)).toThrow(/weight_map of "a".*the name of a file beside it/);
    }
    write([]);
    expect(() => readFolderHeader(model)).toThrow(/weight_map, received an array/);
    writeFileSync(index, '{');
    expect(() => readFolderHeader(model)).toThrow(/index\.json.*valid JSON/);
    rmSync(index);
    expect(() => readFolderHeader(model)).toThrow(/neither/);
  });
});
