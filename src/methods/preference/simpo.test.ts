import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient } from '../../../test/support/gradient-check.ts';
import { tinyPairs, trainPairs } from '../../../test/support/tiny-pairs.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { marginLoss } from '../../parts/loss/reference-free.ts';
import { config, simpo } from './simpo.ts';

it.each([0, 0.25, -0.5])('the loss has its gradient at alpha %d', async (alpha) => {
  const B = (...data: number[]) => ({ shape: [data.length], data });
  const loss = marginLoss({ beta: 2, gamma: 1, labelSmoothing: 0.1, alpha });
  await checkGradient(
    (chosen, rejected, length) =>
      loss({ chosen: chosen!, rejected: rejected!, chosenLength: length!, rejectedLength: length! }),
    [B(-0.5, -2, -0.01), B(-1, -0.3, -3), B(3, 4, 2)],
  );
});

describe('simpo', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());
  const heldOut = (more: object, labels: 'true' | 'shuffled' = 'true') =>
    trainPairs(
      engine,
      simpo.build(config.parse({ model: '', data: '', ...more })),
      tinyPairs(128, 7, labels),
      40,
    );

  it('learns without a reference what holds on new prompts; with labels at random it does not', async () => {
    const learned = await heldOut({});
    expect(learned['eval_rewards/accuracies']).toBeGreaterThan(0.95);
    const shuffled = await heldOut({}, 'shuffled');
    expect(Math.abs(shuffled['eval_rewards/margins']!)).toBeLessThan(0.5 * learned['eval_rewards/margins']!);
  });

  it('goes on to separate the sides until they differ by the margin', async () => {
    const [wide, none] = [await heldOut({ gamma: 4 }), await heldOut({ gamma: 0 })];
    expect(wide['eval_rewards/margins']! - none['eval_rewards/margins']!).toBeGreaterThan(0.5);
  });
});
