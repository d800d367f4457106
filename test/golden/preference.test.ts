/**
 * DPO's variants, KTO, BCO, ORPO, CPO and SimPO against TRL (README.md here), through the methods themselves.
 *
 * On models TRL computes in float32: 2e-5 relative. The nearest wrong variants (a mean for a sum, another partner in a
 * ranking, a KL that is not cut at 0) are off by more than 1e-3.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { sub } from '../../src/graph/ops/elementwise.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { trace } from '../../src/graph/program.ts';
import type { TensorType } from '../../src/graph/tensor.ts';
import { cpo, dpo, kto, orpo, simpo } from '../../src/methods/index.ts';
import { runningMeanReward } from '../../src/methods/preference/bco.ts';
import { readModel } from '../../src/models/checkpoint.ts';
import type { TokenExample } from '../../src/parts/batch.ts';
import { bcoLoss } from '../../src/parts/loss/unpaired.ts';
import { sequenceLogProbs } from '../../src/parts/reference.ts';
import { type PairExample, weighTails } from '../../src/parts/step/pairwise.ts';
import { closeTo, expectSame, type OnModel, runStep } from '../support/run-step.ts';

const data = new URL('./data/', import.meta.url).pathname;

type Case = OnModel & Readonly<Record<string, unknown>>;

const recorded = JSON.parse(readFileSync(join(data, 'preference.json'), 'utf8')) as {
  readonly pairs: readonly {
    readonly prompt: readonly number[];
    readonly chosen: readonly number[];
    readonly rejected: readonly number[];
  }[];
  readonly mismatched: readonly number[];
  readonly bco: {
    readonly beta: number;
    readonly batches: readonly {
      readonly logProbs: readonly number[];
      readonly reference: readonly number[];
      readonly labels: readonly boolean[];
      readonly loss: number;
      readonly delta: number;
      readonly gradient: readonly number[];
    }[];
  };
} & Record<'dpo' | 'orpo' | 'cpo' | 'simpo', readonly Case[]> & {
    readonly kto: readonly (Case & { readonly labels: readonly boolean[] })[];
  };

const policy = readModel(join(data, 'llama-plain'));
const reference = readModel(join(data, 'llama-biases'));

const example = (prompt: readonly number[], completion: readonly number[]): TokenExample => ({
  ids: [...prompt, ...completion],
  mask: [...prompt.map(() => 0), ...completion.map(() => 1)],
});
const pairs: PairExample[] = recorded.pairs.map(({ prompt, chosen, rejected }) => ({
  chosen: example(prompt, chosen),
  rejected: example(prompt, rejected),
}));
const ofReference = (examples: readonly TokenExample[]): Promise<Float64Array> =>
  sequenceLogProbs(examples, { engine: createInterpreter(), ...reference, batchSize: 8, bucket: 1 });

/** The settings of a case, without what was recorded. */
function settings({ loss: _, metrics: __, gradientNorms: ___, ...rest }: Case): Record<string, unknown> {
  return { model: '', data: '', ...rest };
}

const title = (one: Case): string => JSON.stringify(settings(one));

// `loss` is a setting in the records of DPO, KTO and CPO too; the recorder writes the number over it last.
describe('dpo', () => {
  const losses = [
    ['aot'],
    ['aot_unpaired'],
    ['sft'],
    ['sigmoid', 'bco_pair', 'sft'],
    ['sigmoid'],
    ['sigmoid'],
  ];
  it.each(recorded.dpo.map((one, index) => [losses[index]!, title(one), one] as const))(
    'has the loss, metrics and gradient of TRL: %j %s',
    async (loss, _title, one) => {
      const config = dpo.config.parse({ ...settings(one), loss });
      const scores = await ofReference(pairs.flatMap((pair) => weighTails(pair, config.ldAlpha)));
      const known = pairs.map((pair, index) => ({
        ...pair,
        reference: { chosen: scores[2 * index]!, rejected: scores[2 * index + 1]! },
      }));
      const given = await runStep(policy, dpo.build(config), known);
      expectSame(given, one);
    },
  );
});

describe('kto', () => {
  it.each(recorded.kto.map((one, index) => [['kto', 'apo_zero_unpaired'][index]!, one] as const))(
    'has the loss, metrics and gradient of TRL: %s',
    async (loss, { labels, ...one }) => {
      const others = pairs.map(({ chosen }, index) => {
        const { prompt } = recorded.pairs[index]!;
        return loss === 'kto' ? example(prompt, recorded.pairs[recorded.mismatched[index]!]!.chosen) : chosen;
      });
      const own = pairs.map(({ chosen }) => chosen);
      const [scores, otherScores] = [await ofReference(own), await ofReference(others)];
      const examples = own.map((example, index) => ({
        ...{ example, label: labels[index]!, reference: scores[index]! },
        mismatched: { example: others[index]!, reference: otherScores[index]! },
      }));
      const given = await runStep(policy, kto.build(kto.config.parse({ ...settings(one), loss })), examples);
      expectSame(given, one);
      // The KL is not 0, so that it counts.
      if (loss === 'kto') expect(given.metrics.kl).toBeGreaterThan(0.1);
    },
  );
});

describe('bco', () => {
  it('has the losses, slopes and running mean of TRL over two batches', async () => {
    const { beta, batches } = recorded.bco;
    const coupling = runningMeanReward();
    for (const { logProbs, reference, labels, loss, delta, gradient } of batches) {
      const none: TokenExample = { ids: [], mask: [] };
      const batch = labels.map((label, i) => ({ example: none, label, reference: reference[i]! }));
      const completed = coupling.complete(
        batch,
        logProbs.map((x) => [x]),
        true,
      );
      closeTo(beta * completed[0]!.anchor!, delta, 1e-6, 'delta');
      const B: TensorType = { dtype: 'float32', shape: [labels.length] };
      const program = trace({ logProb: B, reference: B, sign: B, anchor: B }, (inputs) => {
        const logRatio = sub(inputs.logProb, inputs.reference);
        const total = sum(bcoLoss({ beta })({ logRatio, sign: inputs.sign, anchor: inputs.anchor }));
        return { total, slope: gradients(total, [inputs.logProb])[0]! };
      });
      const outputs = await (await createInterpreter().compile(program)).run({
        logProb: Float64Array.from(logProbs),
        reference: Float64Array.from(reference),
        sign: Float64Array.from(labels, (label) => (label ? 1 : -1)),
        anchor: Float64Array.from(completed, ({ anchor }) => anchor!),
      });
      closeTo(Number(outputs.total!.data[0]) / labels.length, loss, 1e-6, 'loss');
      gradient.forEach((wanted, i) => {
        closeTo(Number(outputs.slope!.data[i]) / labels.length, wanted, 1e-6, 'slope');
      });
    }
  });
});

describe('losses without a reference', () => {
  // TRL means logits over prompts and padding too, AlphaPO's rewards are not reported here, and it has no such metrics.
  const own = /^logits|^entropy|^mean_token_accuracy/;
  const cpoLosses = ['sigmoid', 'hinge', 'ipo'] as const;

  it.each(recorded.orpo.map((one) => [title(one), one] as const))('orpo is TRL’s: %s', async (_, one) => {
    const step = orpo.build(orpo.config.parse(settings(one)));
    expectSame(await runStep(policy, step, pairs), one, own);
  });
  it.each(recorded.cpo.map((one, index) => [cpoLosses[index]!, one] as const))(
    'cpo is TRL’s: %s',
    async (loss, one) => {
      const step = cpo.build(cpo.config.parse({ ...settings(one), loss }));
      // Without a weight TRL does not compute the likelihood.
      const except = one.cpoAlpha === 0 ? /^logits|^entropy|^mean_token|^nll_loss/ : own;
      expectSame(await runStep(policy, step, pairs), one, except);
    },
  );
  it.each(recorded.simpo.map((one) => [title(one), one] as const))('simpo is TRL’s: %s', async (_, one) => {
    const { cpoAlpha: _cpoAlpha, ...given } = settings(one);
    const step = simpo.build(simpo.config.parse(given));
    const except = one.alpha === undefined ? own : /^logits|^entropy|^mean_token|^rewards/;
    expectSame(await runStep(policy, step, pairs), one, except);
  });
});
