/** What every engine must do. An engine that does less declares the item as an exception with its reason. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineError } from '../../src/core/errors.ts';
import type { HostArray } from '../../src/core/host-tensor.ts';
import type { Engine, EngineOptions, Executable } from '../../src/engine/engine.ts';
import { constant } from '../../src/graph/ops/common.ts';
import { add, cast, greater, mul, not, where } from '../../src/graph/ops/elementwise.ts';
import { matmul } from '../../src/graph/ops/matmul.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { concat, transpose } from '../../src/graph/ops/shape.ts';
import { type Program, trace } from '../../src/graph/program.ts';

/** Items that an engine may be excused from. */
export type ContractItem =
  | 'fresh outputs have the program’s dtype'
  | 'refuses Float64Array for float32'
  | 'leaves the event loop free during run'
  | 'refuses a second run of a binding in flight'
  | 'finishes a run whose executable is disposed'
  | 'refuses memory that was transferred'
  | 'measures microseconds';

export interface EngineContractOptions {
  /** Reason per item that the engine does not hold. */
  readonly exceptions?: Partial<Readonly<Record<ContractItem, string>>>;
}

/** 2 × 3 times 3 × 2, plus a scalar. */
const product = trace(
  {
    left: { dtype: 'float32', shape: [2, 3] },
    right: { dtype: 'float32', shape: [3, 2] },
    bias: { dtype: 'float32', shape: [] },
  },
  ({ left, right, bias }) => ({ product: add(matmul(left, right), bias), total: sum(left) }),
);
const left = (): Float32Array => Float32Array.of(1, 2, 3, 4, 5, 6);
const right = (): Float32Array => Float32Array.of(1, 0, 0, 1, 1, 1);
// Rows of left times columns (1, 0, 1) and (0, 1, 1): 1+3, 2+3; 4+6, 5+6. Plus 0.5.
const expected = [4.5, 5.5, 10.5, 11.5];
const operands = (): Record<'left' | 'right' | 'bias', HostArray> => ({
  left: left(),
  right: right(),
  bias: Float32Array.of(0.5),
});

const double = trace({ x: { dtype: 'float32', shape: [4] } }, ({ x }) => ({ y: mul(x, 2) }));

/** A square product that takes a noticeable time, for tests of what happens meanwhile. */
function slow(size: number): Program {
  const type = { dtype: 'float32', shape: [size, size] } as const;
  return trace({ a: type, b: type }, ({ a, b }) => ({ c: matmul(matmul(matmul(a, b), b), b) }));
}

/** Runs the tests of the contract for one engine. */
export function engineContract(
  name: string,
  createEngine: (options?: EngineOptions) => Engine | Promise<Engine>,
  { exceptions = {} }: EngineContractOptions = {},
): void {
  const unless = (item: ContractItem, test: () => Promise<void>): void => {
    const reason = exceptions[item];
    if (reason === undefined) it(item, test);
    else it.skip(`${item} (excepted: ${reason})`, test);
  };

  describe(`engine contract: ${name}`, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await createEngine({ threads: 2 });
    });
    afterAll(() => engine.dispose());

    /** Compiles for one test and disposes afterwards. */
    async function using(
      program: Program,
      test: (executable: Executable) => Promise<void> | void,
      options: Parameters<Engine['compile']>[1] = {},
    ): Promise<void> {
      const executable = await engine.compile(program, options);
      try {
        await test(executable);
      } finally {
        executable.dispose();
      }
    }

    describe('numbers', () => {
      it('computes a worked example, by run and by runSync', () =>
        using(product, async (executable) => {
          const binding = executable.bind(operands());
          await binding.run();
          expect([...binding.outputs.product!.data]).toEqual(expected);
          expect([...binding.outputs.total!.data]).toEqual([21]);
          binding.outputs.product!.data.fill(0 as never);
          binding.runSync();
          expect([...binding.outputs.product!.data]).toEqual(expected);
          binding.dispose();
        }));

      it('computes float32, int32, int64 and bool', () =>
        using(
          trace(
            {
              f: { dtype: 'float32', shape: [3] },
              i: { dtype: 'int32', shape: [3] },
              l: { dtype: 'int64', shape: [3] },
              b: { dtype: 'bool', shape: [3] },
            },
            ({ f, i, l, b }) => ({
              f: where(b, f, 0),
              i: mul(i, 3),
              l: add(l, 1),
              b: not(b),
              g: greater(f, 0),
              c: cast(b, 'int32'),
            }),
          ),
          async (executable) => {
            const { f, i, l, b, g, c } = await executable.run({
              f: Float32Array.of(-1.5, 2.5, 0),
              i: Int32Array.of(-(2 ** 29), 0, 7),
              l: BigInt64Array.of(2n ** 52n, -3n, 0n),
              b: Uint8Array.of(1, 0, 1),
            });
            expect([...f!.data]).toEqual([-1.5, 0, 0]);
            expect([...i!.data]).toEqual([-3 * 2 ** 29, 0, 21]);
            expect([...l!.data]).toEqual([2n ** 52n + 1n, -2n, 1n]);
            expect([...b!.data]).toEqual([0, 1, 0]);
            expect([...g!.data]).toEqual([0, 1, 0]);
            expect([...c!.data]).toEqual([1, 0, 1]);
            expect([i!.data, l!.data, b!.data].map((data) => data.constructor)).toEqual([
              Int32Array,
              BigInt64Array,
              Uint8Array,
            ]);
          },
        ));

      unless('fresh outputs have the program’s dtype', () =>
        using(double, async (executable) => {
          const { y } = await executable.run({ x: new Float32Array(4) });
          expect(y).toEqual({ dtype: 'float32', shape: [4], data: new Float32Array(4) });
        }),
      );

      it('computes scalars and empty tensors', () =>
        using(
          trace(
            { s: { dtype: 'float32', shape: [] }, e: { dtype: 'float32', shape: [0, 3] } },
            ({ s, e }) => ({
              s: mul(s, s),
              e: add(e, 1),
              sums: sum(e, { axes: [0] }),
              joined: concat(
                [e, constant({ dtype: 'float32', shape: [1, 3], data: Float32Array.of(1, 2, 3) })],
                0,
              ),
            }),
          ),
          async (executable) => {
            const outputs = await executable.run({ s: Float32Array.of(3), e: new Float32Array(0) });
            expect(outputs.s!.shape).toEqual([]);
            expect([...outputs.s!.data]).toEqual([9]);
            expect(outputs.e!.shape).toEqual([0, 3]);
            expect(outputs.e!.data.length).toBe(0);
            expect([...outputs.sums!.data]).toEqual([0, 0, 0]);
            expect([...outputs.joined!.data]).toEqual([1, 2, 3]);
            // Shared memory without a byte has no address.
            const shared = new Float32Array(new SharedArrayBuffer(0));
            const again = await executable.run({ s: Float32Array.of(3), e: shared }, { e: shared });
            expect([...again.joined!.data]).toEqual([1, 2, 3]);
          },
        ));

      it('returns inputs, constants, one tensor under two names, and an output named like an input', () =>
        using(
          trace({ x: { dtype: 'float32', shape: [2] }, unused: { dtype: 'int64', shape: [1] } }, ({ x }) => {
            const y = mul(x, 2);
            const seven = constant({ dtype: 'float32', shape: [2], data: Float32Array.of(7, 8) });
            return { same: x, seven, y, again: y, x: add(x, 1) };
          }),
          async (executable) => {
            const outputs = await executable.run({ x: Float32Array.of(1, 2), unused: BigInt64Array.of(0n) });
            const numbers = Object.fromEntries(
              Object.entries(outputs).map(([key, { data }]) => [key, [...data]]),
            );
            expect(numbers).toEqual({ same: [1, 2], seven: [7, 8], y: [2, 4], again: [2, 4], x: [2, 3] });
          },
        ));

      it('describes its inputs and outputs', () =>
        using(
          product,
          ({ name: given, inputs, outputs }) => {
            expect(given).toBe('described');
            expect(inputs).toEqual([
              { name: 'left', dtype: 'float32', shape: [2, 3] },
              { name: 'right', dtype: 'float32', shape: [3, 2] },
              { name: 'bias', dtype: 'float32', shape: [] },
            ]);
            expect(outputs).toEqual([
              { name: 'product', dtype: 'float32', shape: [2, 2] },
              { name: 'total', dtype: 'float32', shape: [] },
            ]);
          },
          { name: 'described' },
        ));
    });

    describe('memory', () => {
      it('reads inputs and writes outputs in place', () =>
        using(double, (executable) => {
          const x = Float32Array.of(1, 2, 3, 4);
          const y = new Float32Array(4);
          const binding = executable.bind({ x }, { y });
          expect(binding.outputs.y!.data).toBe(y);
          binding.runSync();
          expect([...y]).toEqual([2, 4, 6, 8]);
          x[2] = 50;
          binding.runSync();
          expect([...y]).toEqual([2, 4, 100, 8]);
        }));

      it('works on views at an offset of shared and of ordinary memory, and touches nothing around them', () =>
        using(double, async (executable) => {
          for (const buffer of [new SharedArrayBuffer(128), new ArrayBuffer(128)]) {
            const all = new Float32Array(buffer).fill(-1);
            const x = new Float32Array(buffer, 20, 4);
            x.set([1, 2, 3, 4]);
            const y = new Float32Array(buffer, 60, 4);
            const binding = executable.bind({ x }, { y });
            const around = [...all].map((value, index) =>
              index >= 15 && index < 19 ? (index - 14) * 2 : value,
            );
            binding.runSync();
            expect([...all]).toEqual(around);
            x.fill(5);
            await binding.run();
            expect([...y]).toEqual([10, 10, 10, 10]);
            binding.dispose();
          }
        }));

      it('keeps several bindings of one executable apart, also when they run at once', () =>
        using(slow(64), async (executable) => {
          const bindings = [1, 2, 3].map((value) =>
            executable.bind({
              a: new Float32Array(64 * 64).fill(value),
              b: Float32Array.from({ length: 64 * 64 }, (_, at) => (at % 65 === 0 ? 1 : 0)),
            }),
          );
          await Promise.all(bindings.map((binding) => binding.run()));
          // b is the identity.
          expect(bindings.map(({ outputs }) => outputs.c!.data[7])).toEqual([1, 2, 3]);
          bindings[0]!.dispose();
          bindings[1]!.runSync();
          expect(bindings[1]!.outputs.c!.data[100]).toBe(2);
        }));

      it('freezes constants as they are at compile time, small and large', async () => {
        for (const size of [4, 200]) {
          const type = { dtype: 'float32', shape: [size, size] } as const;
          const program = trace({ x: { dtype: 'float32', shape: [1, size] }, w: type }, ({ x, w }) => ({
            // The transpose and the sum of a constant are computed before the first run.
            y: matmul(x, transpose(add(w, 1))),
            w,
          }));
          const w = new Float32Array(size * size).fill(2);
          await using(
            program,
            async (executable) => {
              w.fill(0);
              expect(executable.inputs.map((input) => input.name)).toEqual(['x']);
              const outputs = await executable.run({ x: new Float32Array(size).fill(1) });
              expect([...outputs.y!.data]).toEqual(new Array(size).fill(3 * size));
              expect(outputs.w!.data[size]).toBe(2);
            },
            { constants: { w } },
          );
        }
      });
    });

    describe('running', () => {
      unless('leaves the event loop free during run', () =>
        using(slow(768), async (executable) => {
          const size = 768 * 768;
          const binding = executable.bind({ a: new Float32Array(size), b: new Float32Array(size) });
          let ticks = 0;
          const timer = setInterval(() => ticks++, 1);
          await binding.run();
          clearInterval(timer);
          // Three products of 0.9 GFLOP take tens of milliseconds; a blocked loop would show no tick.
          expect(ticks).toBeGreaterThan(2);
        }),
      );

      unless('refuses a second run of a binding in flight', () =>
        using(slow(128), async (executable) => {
          const size = 128 * 128;
          const binding = executable.bind({ a: new Float32Array(size), b: new Float32Array(size) });
          const first = binding.run();
          await expect(binding.run()).rejects.toThrow(/one run at a time.*Await the first/);
          expect(() => binding.runSync()).toThrow(/one run at a time/);
          await first;
          await binding.run();
        }),
      );

      it('profiles time per operation when asked', async () => {
        const profiling = await createEngine({ threads: 2, profile: true });
        const executable = await profiling.compile(product);
        const binding = executable.bind(operands());
        for (let run = 0; run < 3; run++) binding.runSync();
        const times = executable.profile();
        expect(times.map(({ op }) => op)).toContain('matmul');
        expect(times.find(({ op }) => op === 'matmul')!.calls).toBe(3);
        expect(executable.profile()).toEqual(times);
        profiling.dispose();
      });

      unless('measures microseconds', async () => {
        const profiling = await createEngine({ threads: 1, profile: true });
        const executable = await profiling.compile(slow(256));
        await executable.run({ a: new Float32Array(65536), b: new Float32Array(65536) });
        const [longest] = executable.profile();
        // Three products of 34 MFLOP: between 1 TFLOP/s and 1 MFLOP/s.
        expect(longest!.op).toBe('matmul');
        expect(longest!.microseconds).toBeGreaterThan(100);
        expect(longest!.microseconds).toBeLessThan(1e8);
        profiling.dispose();
      });

      it('says that it does not profile', () =>
        using(double, (executable) => {
          expect(() => executable.profile()).toThrow(/profile: true/);
        }));
    });

    describe('errors', () => {
      const refuses = (message: RegExp, bind: (executable: Executable) => unknown): Promise<void> =>
        using(
          product,
          (executable) => {
            let thrown: unknown;
            try {
              bind(executable);
            } catch (error) {
              thrown = error;
            }
            expect(thrown).toBeInstanceOf(EngineError);
            expect((thrown as EngineError).message).toMatch(message);
            expect((thrown as EngineError).where).toContain('named');
            expect((thrown as EngineError).fix).toBeDefined();
          },
          { name: 'named' },
        );

      it('names an unknown input, and the nearest one', () =>
        refuses(/"rigth".*Did you mean "right"\?/, (executable) =>
          executable.bind({ left: left(), rigth: right(), bias: Float32Array.of(0) }),
        ));
      it('names an unknown output, and the nearest one', () =>
        refuses(/"prodct".*Did you mean "product"\?/, (executable) =>
          executable.bind(operands(), { prodct: new Float32Array(4) }),
        ));
      it('names a missing input with its type', () =>
        refuses(/input "right" \(float32\[3, 2\]\).*none/, (executable) =>
          executable.bind({ left: left(), bias: Float32Array.of(0) }),
        ));
      it('names an array of the wrong length', () =>
        refuses(/6 elements for input "right".*received 5/, (executable) =>
          executable.bind({ ...operands(), right: new Float32Array(5) }),
        ));
      it('names an output of the wrong length', () =>
        refuses(/4 elements for output "product".*received 8/, (executable) =>
          executable.bind(operands(), { product: new Float32Array(8) }),
        ));
      it('names an array of the wrong dtype', () =>
        refuses(/float32 for input "left".*int32/, (executable) =>
          executable.bind({ ...operands(), left: new Int32Array(6) }),
        ));
      unless('refuses Float64Array for float32', () =>
        refuses(/float32 for input "left".*float64/, (executable) =>
          executable.bind({ ...operands(), left: new Float64Array(6) }),
        ),
      );
      it('names a constant that is no input, or of the wrong length', async () => {
        await expect(engine.compile(product, { constants: { rihgt: right() } })).rejects.toThrow(
          /"rihgt".*Did you mean "right"\?/,
        );
        await expect(engine.compile(product, { constants: { right: left().subarray(1) } })).rejects.toThrow(
          /6 elements for constant "right"/,
        );
      });
      unless('refuses memory that was transferred', () =>
        using(double, (executable) => {
          const x = new Float32Array(4);
          const binding = executable.bind({ x });
          structuredClone(x.buffer, { transfer: [x.buffer] });
          expect(() => binding.runSync()).toThrow(/"x".*transferred/);
        }),
      );
    });

    describe('disposal', () => {
      it('refuses a disposed binding', () =>
        using(double, async (executable) => {
          const binding = executable.bind({ x: new Float32Array(4) });
          binding.dispose();
          binding.dispose();
          expect(() => binding.runSync()).toThrow(/disposed/);
          await expect(binding.run()).rejects.toThrow(EngineError);
          await executable.run({ x: new Float32Array(4) });
        }));

      it('refuses a disposed executable and its bindings', async () => {
        const executable = await engine.compile(double, { name: 'gone' });
        const binding = executable.bind({ x: new Float32Array(4) });
        executable.dispose();
        executable.dispose();
        expect(() => executable.bind({ x: new Float32Array(4) })).toThrow(/gone.*disposed/);
        expect(() => binding.runSync()).toThrow(/gone.*disposed/);
        await expect(executable.run({ x: new Float32Array(4) })).rejects.toThrow(/disposed/);
        expect(() => executable.profile()).toThrow(/disposed/);
      });

      it('disposes executables with the engine, which compiles no more', async () => {
        const other = await createEngine({ threads: 1 });
        const executable = await other.compile(double);
        other.dispose();
        other.dispose();
        expect(() => executable.bind({ x: new Float32Array(4) })).toThrow(/disposed/);
        await expect(other.compile(double)).rejects.toThrow(/disposed/);
      });

      it('leaves nothing behind when the engine is disposed during compilation', async () => {
        const other = await createEngine({ threads: 1 });
        const compiling = other.compile(double);
        other.dispose();
        // An engine that compiles at once may hand out the executable, but a disposed one.
        const outcome = compiling.then((executable) => executable.bind({ x: new Float32Array(4) }));
        await expect(outcome).rejects.toThrow(/disposed/);
      });

      unless('finishes a run whose executable is disposed', async () => {
        const executable = await engine.compile(slow(256));
        const a = new Float32Array(65536).fill(1);
        const b = Float32Array.from({ length: 65536 }, (_, at) => (at % 257 === 0 ? 2 : 0));
        const binding = executable.bind({ a, b });
        const running = binding.run();
        executable.dispose();
        await running;
        expect(binding.outputs.c!.data[300]).toBe(8);
        await expect(binding.run()).rejects.toThrow(/disposed/);
      });
    });
  });
}
