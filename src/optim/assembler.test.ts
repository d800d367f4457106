import { describe, expect, it } from 'vitest';
import { assemble, code } from './assembler.ts';

declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number; shared: true }) => { buffer: SharedArrayBuffer };
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Instance: new (module: object, imports: object) => { exports: Record<string, (...x: number[]) => number> };
};

describe('assemble', () => {
  it('writes the bytes of the specification for one small function', () => {
    const bytes = assemble([
      {
        name: 'f',
        parameters: ['f64', 'f64'],
        result: 'f64',
        body: ([a, b]) => code.f64.add(a!.get, b!.get),
      },
    ]);
    expect(Buffer.from(bytes).toString('hex').match(/../g)!.join(' ')).toBe(
      [
        '00 61 73 6d 01 00 00 00', // magic, version
        '01 07 01 60 02 7c 7c 01 7c', // types: one function (f64, f64) → f64
        '02 13 01 04 68 6f 73 74 06 6d 65 6d 6f 72 79 02 03 00 80 80 04', // import host.memory, shared, ≤ 65 536 pages
        '03 02 01 00', // functions: one of type 0
        '07 05 01 01 66 00 00', // export f: function 0
        '0a 09 01 07 00 20 00 20 01 a0 0b', // code: no locals, local.get 0, local.get 1, f64.add, end
      ].join(' '),
    );
  });

  it('makes functions that run: constants of any size, locals, loops, memory', () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const numbers = [0, 1, 63, 64, -1, -64, -65, 127, 128, 8191, 8192, 2 ** 31 - 1, -(2 ** 31)];
    const { i32, doWhile } = code;
    const bytes = assemble([
      ...numbers.map((value, index) => ({
        name: `n${index}`,
        parameters: [],
        result: 'i32' as const,
        body: () => i32.const(value),
      })),
      {
        name: 'triangle',
        parameters: ['i32'],
        result: 'i32',
        body([n], builder) {
          const [sum, i] = [builder.local('i32'), builder.local('i32')];
          return [
            ...doWhile(
              [...i.set(i32.add(i.get, i32.const(1))), ...sum.set(i32.add(sum.get, i.get))],
              i32.lessThan(i.get, n!.get),
            ),
            ...sum.get,
          ];
        },
      },
      {
        name: 'copy',
        parameters: ['i32', 'i32'],
        body: ([from, to]) => code.v128.store(to!.get, code.v128.load(from!.get, 16), 200),
      },
    ]);
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { host: { memory } });
    expect(numbers.map((_, index) => exports[`n${index}`]!())).toEqual(numbers);
    expect(exports.triangle!(10)).toBe(55);
    const floats = new Float32Array(memory.buffer);
    floats.set([5, 6, 7, 8], 4);
    exports.copy!(0, 40);
    expect([...floats.subarray(60, 64)]).toEqual([5, 6, 7, 8]);
  });
});
