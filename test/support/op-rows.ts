/** One table row per operation, and the tests every row gets. */
import { describe, expect, it } from 'vitest';
import { formatShape } from '../../src/core/shapes.ts';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { reachableNodes, trace } from '../../src/graph/program.ts';
import type { Op, Tensor } from '../../src/graph/tensor.ts';
import { enginesAgree, expectClose } from './engines-agree.ts';
import { checkGradient, gradientProgram, weightedSum } from './gradient-check.ts';
import { type Sample, toArray } from './samples.ts';

type Traced = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

export interface OpRow {
  readonly title: string;
  /** Records and functions of the family's file that this row tests; each export must be in some row. */
  readonly covers: readonly unknown[];
  readonly apply: Traced;
  /** A case whose numbers can be derived by hand. */
  readonly inputs: readonly Sample[];
  readonly outputs: readonly Sample[];
  /** Gradient of the sum of the float32 outputs by each float32 input, at `inputs`. */
  readonly slopes?: readonly Sample[];
  /** Points for central differences and for both engines; none = the operation has no gradient. */
  readonly gradientAt?: readonly (readonly Sample[])[];
  /** Points at which only values and gradients of both engines are compared (kinks, integers, non-finite numbers). */
  readonly agreeAt?: readonly (readonly Sample[])[];
  readonly rejects?: readonly (readonly [call: () => unknown, message: RegExp])[];
  /** Of the engines, relative to the largest magnitude; 2e-6 when left out. State the reason beside it. */
  readonly tolerance?: number;
  /** Also check the gradient's gradient (default) at the first of `gradientAt`. */
  readonly second?: false;
}

/** Registers the tests of a family, and one that fails when the family's file exports something without a row. */
export function testOps(
  family: string,
  exported: Readonly<Record<string, unknown>>,
  rows: readonly OpRow[],
): void {
  describe(`ops/${family}`, () => {
    it('has a row for every operation and function', () => {
      const covered = new Set(rows.flatMap((row) => row.covers));
      const missing = Object.entries(exported).filter(
        ([, thing]) => isTestable(thing) && !covered.has(thing),
      );
      expect(missing.map(([name]) => name)).toEqual([]);
    });
    describe.each(rows.map((row) => [row.title, row] as const))('%s', (_title, row) => {
      it('computes the worked example', () => checkExample(row));
      if (row.slopes !== undefined) it('has the worked slopes', () => checkSlopes(row));
      if (row.gradientAt !== undefined) {
        it('has the gradient of central differences', async () => {
          for (const inputs of row.gradientAt!) await checkGradient(row.apply, inputs);
        });
        if (row.second !== false) {
          it('has the second gradient of central differences', () =>
            checkGradient((...xs) => firstGradients(row.apply, xs), row.gradientAt![0]!, {
              tolerance: 1e-5,
            }));
        }
      }
      it('is the same in ONNX Runtime, forward and gradient', async () => {
        const cases = [row.inputs, ...(row.gradientAt ?? []), ...(row.agreeAt ?? [])];
        for (const inputs of cases) await checkEngines(row, inputs);
      });
      if (row.rejects !== undefined) {
        it.each(row.rejects.map(([call, message]) => [String(message), call, message] as const))(
          'rejects: %s',
          (_text, call, message) => expect(call).toThrow(message),
        );
      }
    });
  });
}

const isOp = (thing: unknown): thing is Op =>
  typeof thing === 'object' && thing !== null && 'infer' in thing && 'evaluate' in thing;
const isTestable = (thing: unknown): boolean => typeof thing === 'function' || isOp(thing);

const named = (inputs: readonly Sample[]) => Object.fromEntries(inputs.map((x, index) => [`x${index}`, x]));
const bind = (inputs: readonly Sample[]) =>
  Object.fromEntries(inputs.map((x, index) => [`x${index}`, toArray(x)]));

/** The program of a row: `y0`, `y1`, …, and `loss`, `g0`, … when it has a gradient. */
function programOf(row: OpRow, inputs: readonly Sample[]) {
  if (row.gradientAt !== undefined) return gradientProgram(row.apply, inputs);
  return trace(named(inputs), (tensors) => {
    const outputs = row.apply(...inputs.map((_, index) => tensors[`x${index}`]!));
    const list = 'dtype' in outputs ? [outputs] : outputs;
    return Object.fromEntries(list.map((y, index) => [`y${index}`, y]));
  });
}

async function checkExample(row: OpRow): Promise<void> {
  const program = programOf(row, row.inputs);
  const used = new Set<unknown>(
    reachableNodes(program.outputs.map(({ tensor }) => tensor)).map((node) => node.op),
  );
  for (const op of row.covers.filter(isOp)) expect(used.has(op), `the row uses ${op.name}`).toBe(true);
  const results = await (await createInterpreter().compile(program)).run(bind(row.inputs));
  const types = program.outputs.filter(({ name }) => name.startsWith('y')).map(({ tensor }) => `${tensor}`);
  expect(types).toEqual(row.outputs.map(({ dtype, shape }) => `${dtype}${formatShape(shape)}`));
  row.outputs.forEach(({ data, shape }, index) => {
    // Constants such as 1/3 are float32 in the interpreter too: 6e-8 relative.
    expectClose(`y${index}`, results[`y${index}`]!.data as Float64Array, data, shape, 1e-7);
  });
}

async function checkSlopes(row: OpRow): Promise<void> {
  const program = trace(named(row.inputs), (tensors) => {
    const xs = row.inputs.map((_, index) => tensors[`x${index}`]!);
    return Object.fromEntries(firstGradients(row.apply, xs, false).map((g, index) => [`g${index}`, g]));
  });
  const results = await (await createInterpreter().compile(program)).run(bind(row.inputs));
  expect(Object.keys(results).length, 'number of slopes').toBe(row.slopes!.length);
  row.slopes!.forEach(({ data, shape }, index) => {
    const given = results[`g${index}`]!;
    expect(given.shape).toEqual(shape);
    expectClose(`g${index}`, given.data as Float64Array, data, shape, 1e-7);
  });
}

function firstGradients(f: Traced, xs: readonly Tensor[], weighted = true): Tensor[] {
  const outputs = f(...xs);
  const variables = xs.filter((x) => x.dtype === 'float32');
  return gradients(weightedSum(outputs, weighted), variables);
}

/** Values and gradients on both engines, each compared to its own largest magnitude. */
async function checkEngines(row: OpRow, inputs: readonly Sample[]): Promise<void> {
  const program = programOf(row, inputs);
  // The loss only carries the gradient; as a sum of terms of both signs it has no scale of its own.
  const compared = { ...program, outputs: program.outputs.filter(({ name }) => name !== 'loss') };
  await enginesAgree(compared, bind(inputs), row.tolerance === undefined ? {} : { tolerance: row.tolerance });
}
