import { describe, expect, it } from 'vitest';
import { EngineError } from '../core/errors.ts';
import { hostTensor } from '../core/host-tensor.ts';
import type { Lowering } from '../graph/lowering.ts';
import { input, type Program, trace } from '../graph/program.ts';
import { apply, applyOne, type Op, type Tensor } from '../graph/tensor.ts';
import { lowerProgram, programToOnnx } from './program-to-onnx.ts';
import { readOnnx } from './read-onnx.ts';

type None = Record<string, never>;

/** An operation that lowers as given and is never evaluated here. */
function op(
  name: string,
  lower: (lowering: Lowering, inputs: readonly string[]) => readonly string[],
): Op<None> {
  return { name, infer: ([x]) => [x!], evaluate: ([x]) => [x!], lower };
}
const unary = (x: Tensor): Tensor =>
  applyOne(
    op('neg', (lowering, [a]) => lowering.node('Neg', [a!])),
    [x],
    {},
  );
const nothing = (x: Tensor): Tensor =>
  applyOne(
    op('nothing', (_lowering, [a]) => [a!]),
    [x],
    {},
  );
const split = op('split', (lowering, [a]) =>
  lowering.node('Split', [a!, ''], {
    outputs: 2,
    domain: 'com.microsoft',
    attributes: { axis: { int: -1 }, scale: { float: 0.5 }, mode: { string: 'even' } },
  }),
);
const type = { dtype: 'float32', shape: [2] } as const;
const wiring = (program: Program) =>
  lowerProgram(program).nodes.map(({ name, opType, inputs, outputs }) => ({ name, opType, inputs, outputs }));

describe('lowerProgram', () => {
  it('names nodes after their operation and its place, and the last value after the output', () => {
    expect(wiring(trace({ x: type }, ({ x }) => ({ y: unary(unary(x)) })))).toEqual([
      { name: 'neg_1', opType: 'Neg', inputs: ['x'], outputs: ['neg_1:0'] },
      { name: 'neg_2', opType: 'Neg', inputs: ['neg_1:0'], outputs: ['y'] },
    ]);
  });

  it('does not depend on what was traced before', () => {
    const build = (): Program => trace({ x: type }, ({ x }) => ({ y: unary(unary(x)) }));
    expect(programToOnnx(build())).toEqual(programToOnnx(build()));
  });

  it('adds Identity only where an output cannot be a renamed value', () => {
    const program = trace({ x: type }, ({ x }) => {
      const y = unary(x);
      return { x, y, again: y, through: nothing(x) };
    });
    expect(wiring(program).map(({ opType, inputs, outputs }) => [opType, ...inputs, ...outputs])).toEqual([
      ['Neg', 'x', 'y'],
      ['Identity', 'y', 'again'],
      ['Identity', 'x', 'x.out'],
      ['Identity', 'x', 'through'],
    ]);
    expect(lowerProgram(program).outputs.map(({ name }) => name)).toEqual(['x.out', 'y', 'again', 'through']);
  });

  it('puts what nothing reads last, the longest path first, because engines start with the last', () => {
    const program = trace({ x: type }, ({ x }) => {
      const chain = [1, 2, 3].reduce<Tensor[]>((values) => [...values, unary(values.at(-1) ?? x)], []);
      // As in a backward pass: a chain, and at each link a result that only reads it.
      const [first, second, third] = chain.map((link) => unary(link));
      return { third: third!, first: first!, second: second! };
    });
    const order = wiring(program).map(({ outputs: [output] }) => output);
    expect(order.slice(3)).toEqual(['third', 'second', 'first']);
  });

  it('keeps inner names apart from the program’s', () => {
    const [first] = wiring(trace({ 'neg_1:0': type }, (inputs) => ({ y: unary(unary(inputs['neg_1:0'])) })));
    expect(first!.inputs).toEqual(['neg_1:0']);
    expect(first!.outputs).toEqual(['neg_1:0.1']);
  });

  it('passes on domains, attributes, several outputs and inputs left out', () => {
    const twice: Op<None> = { ...split, infer: ([x]) => [x!, x!] };
    const program = trace({ x: type }, ({ x }) => ({ second: apply(twice, [x], {})[1]! }));
    expect(lowerProgram(program).nodes).toEqual([
      {
        name: 'split_1',
        opType: 'Split',
        domain: 'com.microsoft',
        inputs: ['x', ''],
        outputs: ['split_1:0', 'second'],
        attributes: { axis: { int: -1 }, scale: { float: 0.5 }, mode: { string: 'even' } },
      },
    ]);
  });

  it('stores equal small constants once, by type, shape and bytes', () => {
    const names: string[] = [];
    const constants = op('constants', (lowering, [a]) => {
      names.push(
        lowering.ints([1, 2]),
        lowering.ints([1, 2]),
        lowering.constant(hostTensor(BigInt64Array.of(1n, 2n), [2])),
        lowering.constant(hostTensor(BigInt64Array.of(1n, 2n), [1, 2])),
        lowering.scalar(1, 'float32'),
        lowering.scalar(1, 'int32'),
        lowering.scalar(1, 'bool'),
        lowering.scalar(0, 'float32'),
        lowering.scalar(0, 'int32'),
        lowering.constant({ dtype: 'float64', shape: [], data: Float64Array.of(1) }),
      );
      return [a!];
    });
    const model = lowerProgram(trace({ x: type }, ({ x }) => ({ y: applyOne(constants, [x], {}) })));
    const [a, b, c, d, e, f, g, zero, none, h] = names;
    expect([b, c, h]).toEqual([a, a, e]);
    expect(new Set([a, d, e, f, g, zero, none]).size).toBe(7);
    expect(model.initializers.map(({ dtype, shape, data }) => [dtype, shape, [...data!]])).toEqual([
      ['int64', [2], [1n, 2n]],
      ['int64', [1, 2], [1n, 2n]],
      ['float32', [], [1]],
      ['int32', [], [1]],
      ['bool', [], [1]],
      ['float32', [], [0]],
      ['int32', [], [0]],
    ]);
  });

  it('stores a large constant once when it is the same array', () => {
    const data = new Float32Array(5000);
    const use = op('use', (lowering, [a]) => {
      lowering.constant(hostTensor(data, [5000]));
      lowering.constant(hostTensor(data, [5000]));
      lowering.constant(hostTensor(data, [50, 100]));
      lowering.constant(hostTensor(data.slice(), [5000]));
      return [a!];
    });
    const model = lowerProgram(trace({ x: type }, ({ x }) => ({ y: applyOne(use, [x], {}) })));
    expect(model.initializers.map(({ shape }) => shape)).toEqual([[5000], [50, 100], [5000]]);
  });

  it('freezes inputs, and refuses to freeze what is none', () => {
    const program = trace({ x: type, w: type }, ({ x, w }) => ({ y: unary(x), z: unary(w) }));
    const w = Float32Array.of(3, 4);
    const model = lowerProgram(program, { constants: { w } });
    expect(model.inputs.map(({ name }) => name)).toEqual(['x']);
    expect(model.initializers).toEqual([{ name: 'w', dtype: 'float32', shape: [2], data: w }]);
    expect(() => lowerProgram(program, { constants: { v: w } })).toThrow(/x, w.*"v"/);
  });

  it('lists inputs that nothing uses, and refuses to use those that are not listed', () => {
    expect(lowerProgram(trace({ x: type, idle: type }, ({ x }) => ({ y: unary(x) }))).inputs).toEqual([
      { name: 'x', ...type },
      { name: 'idle', ...type },
    ]);
    const stray = unary(input('stray', type));
    expect(() => lowerProgram({ inputs: [], outputs: [{ name: 'y', tensor: stray }] })).toThrow(EngineError);
    expect(() => lowerProgram({ inputs: [], outputs: [{ name: 'y', tensor: stray }] })).toThrow(/"stray"/);
  });
});

describe('programToOnnx', () => {
  it('writes a model that reads back', () => {
    const program = trace({ x: type }, ({ x }) => ({ y: unary(x) }));
    const model = readOnnx(programToOnnx(program, { name: 'minus' }));
    expect(model).toEqual(lowerProgram(program, { name: 'minus' }));
    expect(model).toMatchObject({
      name: 'minus',
      irVersion: 10,
      producer: 'heed',
      opsets: { '': 21, 'com.microsoft': 1 },
    });
  });
});
