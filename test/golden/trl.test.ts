/**
 * Losses, gradients and metrics of SFT and DPO against TRL (README.md here).
 *
 * On models TRL computes in float32: 2e-5 relative. The nearest wrong variants (mean over sequences, a shifted mask, a
 * missing reference) are off by more than 1e-2.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { mul, sub } from '../../src/graph/ops/elementwise.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { sliceAxis } from '../../src/graph/ops/shape.ts';
import { trace } from '../../src/graph/program.ts';
import type { TensorType } from '../../src/graph/tensor.ts';
import { tokenLogProbs } from '../../src/graph/token-log-probs.ts';
import { readModel } from '../../src/models/checkpoint.ts';
import type { TokenExample } from '../../src/parts/batch.ts';
import { dpoSigmoidLoss } from '../../src/parts/loss/dpo.ts';
import { divergences, type PairLossName, pairLosses, sigmoidLoss } from '../../src/parts/loss/preference.ts';
import { pairwiseStep } from '../../src/parts/step/pairwise.ts';
import { supervisedStep } from '../../src/parts/step/supervised.ts';
import { closeTo, expectSame, type OnModel, runStep } from '../support/run-step.ts';

const data = new URL('./data/', import.meta.url).pathname;
const readJson = (name: string): unknown => JSON.parse(readFileSync(join(data, name), 'utf8'));

interface Row {
  readonly prompt: readonly number[];
  readonly completion: readonly number[];
}

const example = ({ prompt, completion }: Row): TokenExample => ({
  ids: [...prompt, ...completion],
  mask: [...prompt.map(() => 0), ...completion.map(() => 1)],
});

describe('supervised step', () => {
  const recorded = readJson('sft.json') as {
    readonly onModel: OnModel & { readonly rows: readonly Row[] };
    readonly onLogits: {
      readonly logits: readonly (readonly (readonly number[])[])[];
      readonly labels: readonly (readonly number[])[];
      readonly loss: number;
      readonly gradient: readonly (readonly (readonly number[])[])[];
      readonly logProbs: readonly (readonly number[])[];
      readonly entropy: readonly (readonly number[])[];
    };
  };

  it('has the loss, the metrics and the gradient of TRL on a model', async () => {
    const step = supervisedStep({ aggregation: 'token-mean', packed: false });
    const given = await runStep(
      readModel(join(data, 'llama-plain')),
      step,
      recorded.onModel.rows.map(example),
    );
    expectSame(given, recorded.onModel);
    expect(Object.keys(given.metrics).sort()).toEqual(['entropy', 'mean_token_accuracy']);
  });

  it('has the log-probabilities and entropies of TRL on given logits, uniform and saturated ones too', async () => {
    const { logits, labels, logProbs, entropy } = recorded.onLogits;
    const V = 7;
    // Logits as hidden states in front of a head that is the identity.
    const rows = logits.flatMap((row, b) =>
      row.slice(0, -1).map((numbers, t) => ({ numbers, label: labels[b]![t + 1]! })),
    );
    const N = rows.length;
    const types: Record<'hidden' | 'head' | 'labels', TensorType> = {
      hidden: { dtype: 'float32', shape: [N, V] },
      head: { dtype: 'float32', shape: [V, V] },
      labels: { dtype: 'int64', shape: [N] },
    };
    const program = trace(types, ({ hidden, head, labels }) => {
      const { logProbs, entropy } = tokenLogProbs(hidden, head, labels);
      return { logProbs, entropy };
    });
    const outputs = await (await createInterpreter().compile(program)).run({
      hidden: Float64Array.from(rows.flatMap(({ numbers }) => numbers)),
      head: Float64Array.from({ length: V * V }, (_, index) => (index % (V + 1) === 0 ? 1 : 0)),
      labels: BigInt64Array.from(rows, ({ label }) => BigInt(Math.max(label, 0))),
    });
    rows.forEach(({ label }, index) => {
      if (label === -100) return;
      expect(outputs.logProbs!.data[index]).toBeCloseTo(logProbs.flat()[index]!, 9);
      expect(outputs.entropy!.data[index]).toBeCloseTo(entropy.flat()[index]!, 9);
    });
  });
});

describe('DPO', () => {
  const recorded = readJson('dpo.json') as {
    readonly onLogProbs: readonly {
      readonly lossType: PairLossName | 'sft';
      readonly beta: number;
      readonly labelSmoothing: number;
      readonly fDivergence: string;
      readonly mask: readonly (readonly number[])[];
      readonly logProbs: readonly (readonly number[])[];
      readonly reference: readonly number[];
      readonly loss: number;
      readonly gradient: readonly (readonly number[])[];
    }[];
    readonly onModels: OnModel & {
      readonly chosen: readonly Row[];
      readonly rejected: readonly Row[];
      readonly beta: number;
    };
    readonly labelSmoothing: {
      readonly cases: readonly {
        readonly beta: number;
        readonly labelSmoothing: number;
        readonly logProbs: readonly (readonly number[])[];
        readonly losses: readonly number[];
        readonly gradient: readonly (readonly number[])[];
      }[];
    };
  };

  it('has the loss, the metrics and the gradient of TRL on a policy and a reference', async () => {
    const { chosen, rejected, beta } = recorded.onModels;
    const reference = readModel(join(data, 'llama-biases'));
    const scorer = supervisedStep({ aggregation: 'sequence-mean-token-sum', packed: false });
    const score = async (row: Row): Promise<number> =>
      -(await runStep(reference, scorer, [example(row)])).loss;
    const pairs = await Promise.all(
      chosen.map(async (row, index) => ({
        chosen: example(row),
        rejected: example(rejected[index]!),
        reference: { chosen: await score(row), rejected: await score(rejected[index]!) },
      })),
    );
    const loss = sigmoidLoss({ beta, labelSmoothing: 0 });
    const given = await runStep(readModel(join(data, 'llama-plain')), pairwiseStep({ beta, loss }), pairs);
    expectSame(given, recorded.onModels);
    const wanted = Object.keys(recorded.onModels.metrics).filter((name) => name !== 'num_tokens');
    expect(Object.keys(given.metrics).sort()).toEqual(wanted.sort());
  });

  const divergenceOf = {
    reverse_kl: divergences.reverseKl,
    forward_kl: divergences.forwardKl,
    js_divergence: divergences.jensenShannon,
  };

  it.each(
    recorded.onLogProbs.flatMap((one) =>
      one.lossType === 'sft' ? [] : [[one.lossType, one.fDivergence, one, pairLosses[one.lossType]] as const],
    ),
  )('has the loss and the slopes of TRL: %s, %s', async (_name, fDivergence, given, lossOf) => {
    const { beta, labelSmoothing, mask, logProbs, reference, loss, gradient } = given;
    const pairs = reference.length / 2;
    const score = divergenceOf[fDivergence as keyof typeof divergenceOf];
    const type: TensorType = { dtype: 'float32', shape: [2 * pairs, mask[0]!.length] };
    const program = trace(
      { x: type, mask: type, reference: { dtype: 'float32', shape: [2 * pairs] } },
      (inputs) => {
        const scores = score(sub(sum(mul(inputs.x, inputs.mask), { axes: 1 }), inputs.reference));
        const lengths = sum(inputs.mask, { axes: 1 });
        const losses = lossOf({ beta, labelSmoothing, tau: 0.05 })({
          chosen: sliceAxis(scores, 0, 0, pairs),
          rejected: sliceAxis(scores, 0, pairs, 2 * pairs),
          chosenLength: sliceAxis(lengths, 0, 0, pairs),
          rejectedLength: sliceAxis(lengths, 0, pairs, 2 * pairs),
        });
        const total = mul(sum(losses), 1 / pairs);
        return { loss: total, slope: gradients(total, [inputs.x])[0]! };
      },
    );
    const outputs = await (await createInterpreter().compile(program)).run({
      x: Float64Array.from(logProbs.flat()),
      mask: Float64Array.from(mask.flat()),
      reference: Float64Array.from(reference),
    });
    // Scalars such as β are float32 in the graph, which is good for 7 digits; 1/(2β) squared loses one.
    closeTo(outputs.loss!.data[0]!, loss, 1e-6);
    gradient.flat().forEach((wanted, index) => void closeTo(outputs.slope!.data[index]!, wanted, 1e-6));
  });

  it.each(recorded.labelSmoothing.cases.map((one) => [one.labelSmoothing, one] as const))(
    'has the losses and slopes of TRL with label smoothing %d, extreme margins too',
    async (labelSmoothing, { beta, logProbs, losses, gradient }) => {
      const B: TensorType = { dtype: 'float32', shape: [losses.length] };
      const types = { chosen: B, rejected: B, referenceChosen: B, referenceRejected: B };
      const program = trace(types, (inputs) => {
        const losses = dpoSigmoidLoss(
          sub(sub(inputs.chosen, inputs.referenceChosen), sub(inputs.rejected, inputs.referenceRejected)),
          { beta, labelSmoothing },
        );
        const [chosen, rejected] = gradients(sum(losses), [inputs.chosen, inputs.rejected]);
        return { losses, chosen: chosen!, rejected: rejected! };
      });
      const column = (at: number): Float64Array => Float64Array.from(logProbs, (row) => row[at]!);
      const outputs = await (await createInterpreter().compile(program)).run({
        chosen: column(0),
        rejected: column(1),
        referenceChosen: column(2),
        referenceRejected: column(3),
      });
      // Scalars such as beta are float32 in the graph, which is good for 7 digits.
      losses.forEach((wanted, index) => {
        closeTo(outputs.losses!.data[index]!, wanted, 2e-7);
        closeTo(outputs.chosen!.data[index]!, gradient[index]![0]!, 2e-7);
        closeTo(outputs.rejected!.data[index]!, gradient[index]![1]!, 2e-7);
      });
    },
  );
});
