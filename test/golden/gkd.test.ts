/**
 * The divergence of GKD against TRL (README.md here): in float64 on given logits, and through the method on models, which TRL
 * computes in float32. The nearest wrong variants (the ends swapped, β and 1 − β swapped, a mean over sequences) are off by more
 * than 1e-2.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { div, mul } from '../../src/graph/ops/elementwise.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { trace } from '../../src/graph/program.ts';
import { gkd } from '../../src/methods/index.ts';
import { readModel } from '../../src/models/checkpoint.ts';
import { generalizedJsd } from '../../src/parts/loss/distillation.ts';
import { closeTo, expectSame, type OnModel, runStep } from '../support/run-step.ts';

const data = new URL('./data/', import.meta.url).pathname;
type Nested = readonly (readonly (readonly number[])[])[];

const recorded = JSON.parse(readFileSync(join(data, 'gkd.json'), 'utf8')) as {
  readonly onLogits: {
    readonly student: Nested;
    readonly teacher: Nested;
    readonly labels: readonly (readonly number[])[];
    readonly cases: readonly {
      readonly beta: number;
      readonly temperature: number;
      readonly loss: number;
      readonly gradient: Nested;
    }[];
  };
  readonly rows: readonly { readonly prompt: readonly number[]; readonly completion: readonly number[] }[];
  readonly onModels: readonly (OnModel & { readonly beta: number })[];
};

const { student, teacher, labels, cases } = recorded.onLogits;
const numbers = (nested: Nested): Float64Array => Float64Array.from(nested.flat(2));

describe('generalizedJsd', () => {
  it.each(cases)('is TRL’s at β = $beta and temperature $temperature, with its gradient', async (wanted) => {
    const mask = Float64Array.from(labels.flat(), (label) => (label === -100 ? 0 : 1));
    const [N, V] = [mask.length, student[0]![0]!.length];
    const type = (shape: readonly number[]) => ({ dtype: 'float32' as const, shape });
    const program = trace({ student: type([N, V]), teacher: type([N, V]), mask: type([N]) }, (inputs) => {
      const scaled = [inputs.student!, inputs.teacher!].map((logits) => div(logits, wanted.temperature));
      const losses = mul(generalizedJsd(scaled[0]!, scaled[1]!, wanted.beta), inputs.mask!);
      const loss = div(sum(losses), sum(inputs.mask!));
      return { loss, slope: gradients(loss, [inputs.student!])[0]! };
    });
    const { loss, slope } = await (await createInterpreter().compile(program)).run({
      student: numbers(student),
      teacher: numbers(teacher),
      mask,
    });
    // Numbers in a graph, here log β, are float32.
    closeTo(loss!.data[0]!, wanted.loss, 2e-7, 'loss');
    numbers(wanted.gradient).forEach((g, i) => void closeTo(slope!.data[i]!, g, 5e-7, `slope ${i}`));
  });
});

describe('gkd', () => {
  const [own, other] = ['llama-plain', 'llama-biases'].map((name) => readModel(join(data, name)));
  const examples = recorded.rows.map(({ prompt, completion }) => ({
    ids: [...prompt, ...completion],
    mask: [...prompt.map(() => 0), ...completion.map(() => 1)],
  }));

  it.each(recorded.onModels)(
    'on models is TRL’s at β = $beta, in loss and every gradient',
    async (wanted) => {
      const config = gkd.config.parse({
        model: '',
        data: '',
        teacherModel: '',
        lambda: 0,
        beta: wanted.beta,
      });
      const step = gkd.build(config, { teacher: other!, stopIds: new Set() });
      const given = await runStep(own!, step, examples);
      expectSame(given, wanted, /./);
      expect(given.metrics['completions/mean_length']).toBe(14 / 4);
      const kl = { 0: 'teacher/forward_kl', 1: 'teacher/reverse_kl' }[wanted.beta];
      if (kl !== undefined) closeTo(given.metrics[kl]!, wanted.loss, 2e-5, kl);
    },
  );
});
