import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataError } from '../core/errors.ts';
import { allocate } from '../core/host-tensor.ts';
import { type DType, sizeOf } from '../core/shapes.ts';
import type { OnnxAttribute } from '../graph/lowering.ts';
import { encodeOnnx, type OnnxModel } from './model.ts';
import { readOnnx } from './read-onnx.ts';

const empty: OnnxModel = {
  name: 'g',
  irVersion: 10,
  producer: 'p',
  opsets: { '': 21 },
  nodes: [],
  inputs: [],
  outputs: [],
  initializers: [],
};

describe('encodeOnnx', () => {
  it('writes the bytes that onnx.proto3 prescribes', () => {
    const model: OnnxModel = {
      ...empty,
      nodes: [
        {
          name: 'n',
          opType: 'Neg',
          domain: '',
          inputs: ['x'],
          outputs: ['y'],
          attributes: { a: { int: 3 } },
        },
      ],
      inputs: [{ name: 'x', dtype: 'float32', shape: [2] }],
      initializers: [{ name: 'c', dtype: 'bool', shape: [1], data: Uint8Array.of(1) }],
    };
    // tag = field number × 8 + wire type (0 varint, 2 length-delimited).
    const node = [
      ...[0x0a, 1, 0x78], // input 1: "x"
      ...[0x12, 1, 0x79], // output 2: "y"
      ...[0x1a, 1, 0x6e], // name 3: "n"
      ...[0x22, 3, 0x4e, 0x65, 0x67], // op_type 4: "Neg"
      ...[0x2a, 8, 0x0a, 1, 0x61, 0x18, 3, 0xa0, 1, 2], // attribute 5: name 1 "a", i 3 = 3, type 20 = INT (2)
    ];
    const initializer = [
      ...[0x0a, 1, 1], // dims 1, packed: 1
      ...[0x10, 9], // data_type 2: BOOL (9)
      ...[0x42, 1, 0x63], // name 8: "c"
      ...[0x4a, 1, 1], // raw_data 9
    ];
    const value = [
      ...[0x0a, 1, 0x78], // name 1: "x"
      // type 2: tensor_type 1: elem_type 1 = FLOAT (1), shape 2: dim 1: dim_value 1 = 2
      ...[0x12, 10, 0x0a, 8, 0x08, 1, 0x12, 4, 0x0a, 2, 0x08, 2],
    ];
    const graph = [
      ...[0x0a, node.length, ...node],
      ...[0x12, 1, 0x67], // name 2: "g"
      ...[0x2a, initializer.length, ...initializer],
      ...[0x5a, value.length, ...value], // input 11
    ];
    expect([...encodeOnnx(model)]).toEqual([
      ...[0x08, 10], // ir_version 1
      ...[0x12, 1, 0x70], // producer_name 2
      ...[0x3a, graph.length, ...graph], // graph 7
      ...[0x42, 4, 0x0a, 0, 0x10, 21], // opset_import 8: domain 1 "", version 2 = 21
    ]);
  });

  it('marks each attribute with its type', () => {
    const bytesOf = (attribute: OnnxAttribute): number[] => {
      const node = {
        name: '',
        opType: '',
        domain: '',
        inputs: [],
        outputs: [],
        attributes: { a: attribute },
      };
      const bytes = [...encodeOnnx({ ...empty, nodes: [node] })];
      // The attribute follows its tag, 5 × 8 + 2, and its length.
      const start = bytes.indexOf(0x2a);
      return bytes.slice(start + 2, start + 2 + bytes[start + 1]!);
    };
    const named = [0x0a, 1, 0x61];
    expect(bytesOf({ float: 1 })).toEqual([...named, 0x15, 0, 0, 0x80, 0x3f, 0xa0, 1, 1]);
    expect(bytesOf({ int: 5 })).toEqual([...named, 0x18, 5, 0xa0, 1, 2]);
    expect(bytesOf({ string: 'b' })).toEqual([...named, 0x22, 1, 0x62, 0xa0, 1, 3]);
    expect(bytesOf({ floats: [1] })).toEqual([...named, 0x3a, 4, 0, 0, 0x80, 0x3f, 0xa0, 1, 6]);
    expect(bytesOf({ ints: [5, 6] })).toEqual([...named, 0x42, 2, 5, 6, 0xa0, 1, 7]);
  });

  it('survives a round trip through readOnnx', () => {
    const name = fc.string({ maxLength: 8 });
    const dtype = fc.constantFrom<DType>('float32', 'int32', 'int64', 'bool');
    const shape = fc.array(fc.nat(4), { maxLength: 3 });
    const value = fc.record({ name, dtype, shape });
    const integer = fc.integer({ min: -(2 ** 40), max: 2 ** 40 });
    const float = fc.float({ noNaN: true });
    const attribute: fc.Arbitrary<OnnxAttribute> = fc.oneof(
      integer.map((int) => ({ int })),
      fc.array(integer, { maxLength: 4 }).map((ints) => ({ ints })),
      float.map((number) => ({ float: number })),
      fc.array(float, { maxLength: 4 }).map((floats) => ({ floats })),
      name.map((string) => ({ string })),
    );
    const key = fc.stringMatching(/^[a-z]{1,5}$/);
    const model = fc.record({
      name,
      irVersion: fc.nat(20),
      producer: name,
      opsets: fc.dictionary(fc.stringMatching(/^[a-z.]{0,8}$/), fc.nat(30)),
      nodes: fc.array(
        fc.record({
          name,
          opType: name,
          domain: fc.constantFrom('', 'com.microsoft'),
          inputs: fc.array(name, { maxLength: 3 }),
          outputs: fc.array(name, { maxLength: 2 }),
          attributes: fc.dictionary(key, attribute, { maxKeys: 3 }),
        }),
        { maxLength: 4 },
      ),
      inputs: fc.array(value, { maxLength: 3 }),
      outputs: fc.array(value, { maxLength: 3 }),
      initializers: fc.array(
        fc.tuple(value, fc.boolean()).map(([type, external]) => {
          if (external) return type;
          const data = allocate(type.dtype, sizeOf(type.shape));
          for (let i = 0; i < data.length; i++)
            data[i] = (data instanceof BigInt64Array ? BigInt(i) : i) as never;
          return { ...type, data };
        }),
        { maxLength: 3 },
      ),
    });
    fc.assert(
      fc.property(model, (original) => {
        const copy = readOnnx(encodeOnnx(original));
        // Dictionaries from fast-check have no prototype; copies of the records compare as plain.
        expect(copy).toEqual(structuredClone(original));
      }),
      { numRuns: 200 },
    );
  });

  it('writes data that is a view into larger memory', () => {
    const data = new Float32Array(new SharedArrayBuffer(64), 8, 2);
    data.set([1.5, -2]);
    const initializers = [{ name: 'c', dtype: 'float32', shape: [2], data } as const];
    const copy = readOnnx(encodeOnnx({ ...empty, initializers }));
    expect([...copy.initializers[0]!.data!]).toEqual([1.5, -2]);
  });
});

describe('readOnnx', () => {
  it('refuses bytes that are no model', () => {
    const bytes = encodeOnnx({ ...empty, inputs: [{ name: 'input', dtype: 'float32', shape: [3] }] });
    expect(() => readOnnx(bytes.subarray(0, bytes.length - 12))).toThrow(DataError);
    expect(() => readOnnx(Uint8Array.of(0x3a, 0xff, 0xff))).toThrow(/ONNX protobuf bytes/);
  });
});
