import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient } from '../../../test/support/gradient-check.ts';
import { tinyPairs, trainPairs } from '../../../test/support/tiny-pairs.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { full } from '../../graph/ops/elementwise.ts';
import { trace } from '../../graph/program.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { orpoLoss } from '../../parts/loss/reference-free.ts';
import { config, orpo } from './orpo.ts';

describe('orpo loss', () => {
  const B = (...data: number[]) => ({ shape: [data.length], data });
  const loss = (...[chosen, rejected, nll]: Tensor[]): Tensor =>
    orpoLoss({ beta: 0.3 })({
      ...{ chosen: chosen!, rejected: rejected!, nll: nll! },
      ...{ chosenLength: nll!, rejectedLength: nll! },
    });

  it('has its gradient', async () => {
    await checkGradient(loss, [B(-0.5, -2, -0.01), B(-1, -0.3, -9), B(1, 2, 3)]);
  });

  it('is finite where a completion is certain: its odds are infinite', async () => {
    const program = trace({}, () => ({ y: loss(full([1], 0), full([1], -1), full([1], 2)) }));
    const { y } = await (await createInterpreter().compile(program)).run({});
    // log odds: ≈ −log(1e-6) = 13.8 for the chosen side, −1 − log(1 − 1/e) = −0.541 for the other; log σ of their difference ≈ 0.
    expect(Number(y!.data[0])).toBeCloseTo(2, 5);
  });
});

describe('orpo', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());

  it('separates the two sides on new prompts, which the likelihood alone hardly does', async () => {
    const heldOut = (beta: number) =>
      trainPairs(engine, orpo.build(config.parse({ model: '', data: '', beta })), tinyPairs(128, 7));
    const margin = (record: Readonly<Record<string, number>>, beta: number): number =>
      record['eval_rewards/margins']! / beta;
    const [learned, likelihood] = [await heldOut(3), await heldOut(1e-6)];
    expect(learned['eval_rewards/accuracies']).toBeGreaterThan(0.95);
    expect(margin(learned, 3)).toBeGreaterThan(1.5 * margin(likelihood, 1e-6));
  });
});
