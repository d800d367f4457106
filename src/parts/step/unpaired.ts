/** Single completions, desirable or not, against a frozen reference: the skeleton of KTO and BCO. */
import { ConfigError } from '../../core/errors.ts';
import { stopGradient } from '../../graph/ops/control.ts';
import { add, mul, sub } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { reshape } from '../../graph/ops/shape.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { columnsOf, type TokenExample, type TokenInputs, tokenArrays, tokenTypes } from '../batch.ts';
import { batchLogProbs } from '../logprob.ts';
import type { UnpairedLoss } from '../loss/unpaired.ts';
import type { Coupling } from './coupling.ts';
import type { TrainStep } from './train-step.ts';

/** A completion with its mark and the reference's opinion of it. */
export interface UnpairedExample {
  readonly example: TokenExample;
  /** Whether it is desirable. */
  readonly label: boolean;
  /** log π_ref of the completion, nats, summed over its tokens. */
  readonly reference?: number;
  /** The same prompt with the completion of another row, and its log π_ref. */
  readonly mismatched?: { readonly example: TokenExample; readonly reference: number };
  /** Multiplies its loss; 1 when left out. */
  readonly weight?: number;
  /** What its log-ratio is compared with, from the batch; 0 when left out. */
  readonly anchor?: number;
}

export interface UnpairedStepOptions {
  /** Scale of the implicit rewards β·log(π/π_ref) that are reported. */
  readonly beta: number;
  readonly loss: UnpairedLoss;
  /** Name and scale of the anchor as a metric; not reported when left out. */
  readonly anchor?: { readonly name: string; readonly scale: number };
  /** Name of the mean weight of undesirable completions as a metric; not reported when left out. */
  readonly weight?: string;
  readonly coupling?: Coupling<UnpairedExample>;
}

/** Metrics as TRL's KTO trainer names them; those of a mark that a batch does not have are left out. */
export function unpairedStep({
  beta,
  loss,
  anchor,
  weight: weightName,
  coupling,
}: UnpairedStepOptions): TrainStep<UnpairedExample> {
  return {
    columns: ({ example }) => columnsOf(example.ids.length),
    weight: () => 1,
    tokens: ({ example }) => example.ids.length,
    types: (rows, columns) => ({
      ...tokenTypes(rows, columns, false),
      reference: { dtype: 'float32', shape: [rows] },
      anchor: { dtype: 'float32', shape: [rows] },
      sign: { dtype: 'float32', shape: [rows] },
      weight: { dtype: 'float32', shape: [rows] },
    }),
    arrays(examples, rows, columns) {
      const column = (value: (example: UnpairedExample) => number): Float32Array => {
        const data = new Float32Array(rows);
        data.set(examples.map(value));
        return data;
      };
      return {
        ...tokenArrays(
          examples.map(({ example }) => example),
          rows,
          columns,
          false,
        ),
        reference: column(referenceOf),
        anchor: column(({ anchor: z = 0 }) => z),
        // 0 in missing rows.
        sign: column(({ label }) => (label ? 1 : -1)),
        weight: column(({ weight = 1 }) => weight),
      };
    },
    trace({ model, weights, rematerialize }, inputs) {
      const {
        reference,
        anchor: z,
        sign,
        weight,
      } = inputs as unknown as Record<'reference' | 'anchor' | 'sign' | 'weight', Tensor>;
      const batch = inputs as unknown as TokenInputs;
      const { mask } = batch;
      const { logProbs, entropy, meanLogits } = batchLogProbs(model, weights, batch, { rematerialize });
      const sequence = sum(mul(logProbs, mask), { axes: 1 }); // [rows]
      const logRatio = sub(sequence, reference);
      const real = mul(sign, sign);
      const chosen = mul(add(real, sign), 0.5);
      const rejected = sub(real, chosen);
      const rewards = mul(stopGradient(logRatio), beta);
      const over = (x: Tensor, of: Tensor): Tensor => sum(mul(x, of));
      const labels = (x: Tensor, of: Tensor): Tensor =>
        sum(mul(mul(x, mask), reshape(of, [of.shape[0]!, 1])));
      return {
        loss: over(loss({ logRatio, sign, anchor: z }), weight),
        sums: {
          chosen: sum(chosen),
          rejected: sum(rejected),
          weightRejected: over(weight, rejected),
          anchor: over(z, real),
          rewardsChosen: over(rewards, chosen),
          rewardsRejected: over(rewards, rejected),
          logpsChosen: over(sequence, chosen),
          logpsRejected: over(sequence, rejected),
          logitsChosen: labels(meanLogits, chosen),
          logitsRejected: labels(meanLogits, rejected),
          labelsChosen: labels(mask, chosen),
          labelsRejected: labels(mask, rejected),
          entropy: sum(mul(entropy, mask)),
        },
      };
    },
    summarize(totals) {
      const total = (name: string): number => totals[name] ?? 0;
      const [chosen, rejected] = [total('chosen'), total('rejected')];
      const labels = total('labelsChosen') + total('labelsRejected');
      const ofMark = (mark: 'Chosen' | 'Rejected', count: number): Record<string, number> => {
        const name = mark.toLowerCase();
        if (count === 0) return {};
        return {
          [`rewards/${name}`]: total(`rewards${mark}`) / count,
          [`logps/${name}`]: total(`logps${mark}`) / count,
          [`logits/${name}`]: total(`logits${mark}`) / Math.max(total(`labels${mark}`), 1),
        };
      };
      return {
        ...ofMark('Chosen', chosen),
        ...ofMark('Rejected', rejected),
        ...(chosen > 0 && rejected > 0
          ? { 'rewards/margins': total('rewardsChosen') / chosen - total('rewardsRejected') / rejected }
          : {}),
        ...(anchor && { [anchor.name]: (anchor.scale * total('anchor')) / Math.max(chosen + rejected, 1) }),
        ...(weightName !== undefined && rejected > 0
          ? { [weightName]: total('weightRejected') / rejected }
          : {}),
        entropy: total('entropy') / Math.max(labels, 1),
      };
    },
    ...(coupling && { coupling }),
  };
}

function referenceOf({ reference }: UnpairedExample): number {
  if (reference !== undefined) return reference;
  throw new ConfigError({
    where: 'unpairedStep',
    expected: 'completions with reference log-probabilities',
    received: 'one without',
    fix: 'Score the completions with the reference model before training',
  });
}
